"""Recorded series from the files of `tensornet-jax md`, replicas together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

# What every file has besides the properties that were asked for.
_CONDITIONS = ("temperature", "volume")
_OTHERS = ("numbers", "pbc", "step", "time_fs")


@dataclass(frozen=True)
class Series:
    """Properties of one molecule or crystal along R trajectories of T records.

    interval: time between two records, fs.
    temperature: (R, T) K.
    volume: (R, T) Å³; 0 where there is none.
    numbers: (n,) atomic numbers.
    values: by name (R, T, …), or (R, T, n, …) of properties of atoms.
    units: by name; "" where the model does not say.
    per_atom: names of properties of atoms.
    """

    interval: float
    temperature: Float[np.ndarray, "replicas steps"]
    volume: Float[np.ndarray, "replicas steps"]
    numbers: Int[np.ndarray, " atoms"]
    values: dict[str, Float[np.ndarray, "replicas steps ..."]]
    units: dict[str, str]
    per_atom: frozenset[str]

    @property
    def duration(self) -> float:
        """Time each trajectory spans, ps."""
        return (self.temperature.shape[1] - 1) * self.interval * 1e-3


def read_series(paths: str | Path | Sequence[str | Path], skip: float = 0.0) -> Series:
    """Read the structures of files as replicas of one; longer ones are cut to the shortest.

    Args:
        paths: one file ``*.series.h5`` or several.
        skip: ps left out at the start of each.

    Raises:
        ValueError: a file that is not one, different molecules, properties or intervals, gaps, or
            nothing left.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    groups = [group for path in paths for group in _groups(Path(path), skip)]
    first = groups[0]
    for each in groups[1:]:
        for name, same in (
            ("atoms", np.array_equal(each.numbers, first.numbers)),
            ("properties", each.values.keys() == first.values.keys()),
            ("intervals", np.isclose(each.interval, first.interval, rtol=1e-9)),
        ):
            if not same:
                raise ValueError(
                    f"{each.where} has other {name} than {first.where}: average replicas of one "
                    "molecule or crystal, recorded alike"
                )
    length = min(len(each.conditions["temperature"]) for each in groups)

    def together(rows: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([each[:length] for each in rows])

    return Series(
        interval=first.interval,
        numbers=first.numbers,
        values={name: together([each.values[name] for each in groups]) for name in first.values},
        units=first.units,
        per_atom=first.per_atom,
        **{name: together([each.conditions[name] for each in groups]) for name in _CONDITIONS},
    )


@dataclass(frozen=True)
class _Group:
    where: str
    interval: float
    numbers: np.ndarray
    conditions: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    units: dict[str, str]
    per_atom: frozenset[str]


def _groups(path: Path, skip: float) -> list[_Group]:
    try:
        # So that the file of a run that goes on, or was killed, is read as well.
        with h5py.File(path, "r", swmr=True) as file:
            return [
                _group(f"{path}, structure {name}", _datasets(file[name]), skip) for name in file
            ]
    except (OSError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a file of recorded properties: give the .series.h5 of tensornet-jax md "
            "with a record section"
        ) from error


def _datasets(group: object) -> dict[str, h5py.Dataset]:
    if not isinstance(group, h5py.Group):
        raise KeyError(f"{group} is not a group")
    return {str(name): data for name, data in group.items() if isinstance(data, h5py.Dataset)}


def _group(where: str, group: Mapping[str, h5py.Dataset], skip: float) -> _Group:
    names = [name for name in group if name not in (*_CONDITIONS, *_OTHERS)]
    # A killed run may have begun to write a record.
    whole = min(len(group[name]) for name in ("step", "time_fs", *_CONDITIONS, *names))
    times = np.asarray(group["time_fs"], np.float64)[:whole]
    kept = times >= times[0] + skip * 1e3 if len(times) else np.zeros(0, bool)
    if kept.sum() < 2:
        raise ValueError(f"{where} has {kept.sum()} records behind the first {skip:g} ps")
    times = times[kept]
    steps = np.diff(times)
    interval = float((times[-1] - times[0]) / (len(times) - 1))
    if not np.allclose(steps, interval, rtol=1e-6):
        raise ValueError(f"{where} has gaps: its records are not equally far apart in time")
    return _Group(
        where=where,
        interval=interval,
        numbers=np.asarray(group["numbers"]),
        conditions={
            name: np.asarray(group[name], np.float64)[:whole][kept] for name in _CONDITIONS
        },
        values={name: np.asarray(group[name], np.float64)[:whole][kept] for name in names},
        units={name: str(group[name].attrs["unit"]) for name in names},
        per_atom=frozenset(name for name in names if group[name].attrs["per_atom"]),
    )
