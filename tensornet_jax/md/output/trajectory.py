"""Trajectories and the log: files that samples are appended to, and that can be cut."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import ase.io
import numpy as np
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter
from jaxtyping import Float

from tensornet_jax.md.output.growing_file import (
    SHORTER,
    append_rows,
    dataset_of,
    make_durable,
    open_growing,
)
from tensornet_jax.md.sample import Sample
from tensornet_jax.runtime.csv_files import csv_writer

# Bytes at the beginning of a text file, and before its end, by which it is known again.
KNOWN_BY = 4096
FOREIGN = (
    "{} is not the file that the restart file belongs to: restore that, choose another output, or "
    "start anew with resume: false, which overwrites it"
)

LOG_COLUMNS = (
    "replica",
    "step",
    "time_ps",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "total_energy_eV",
    "temperature_K",
    "conserved_eV",
    "pressure_GPa",
    "volume_A3",
)


class Mark(NamedTuple):
    """How far the files of a sink had got.

    sizes: of each file: bytes, frames or records.
    ends: what each is known by again; None if that was not noted.
    """

    sizes: list[int]
    ends: list[str] | None = None

    def check(self, path: Path, index: int, end: str) -> None:
        """Raise ValueError unless a file, cut to its size, is the one that was marked."""
        if self.ends is not None and self.ends[index] != end:
            raise ValueError(FOREIGN.format(path))


class Sink(Protocol):
    """One file, or one for each structure, that samples are appended to.

    Opened with a mark, it goes on there: whatever came later is removed first.
    """

    suffix: ClassVar[str]

    def __init__(self, stem: Path, count: int, mark: Mark | None) -> None: ...

    @classmethod
    def paths(cls, stem: Path, count: int) -> list[Path]:
        """Return the files of a run of so many structures."""
        ...

    def write(self, sample: Sample) -> None:
        """Append a sample, and hand it to the operating system."""
        ...

    def mark(self) -> Mark:
        """Return how far the files have got."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


def paths_of(stem: Path, suffix: str, count: int) -> list[Path]:
    """Return the file of each structure: name.xyz, or name-000.xyz, name-001.xyz, …"""
    if count == 1:
        return [stem.with_name(stem.name + suffix)]
    return [stem.with_name(f"{stem.name}-{index:03d}{suffix}") for index in range(count)]


class ExtxyzSink:
    """Extended XYZ: 8 decimals, a file for each structure."""

    suffix: ClassVar[str] = ".xyz"

    def __init__(self, stem: Path, count: int, mark: Mark | None) -> None:
        self._files = [
            GrowingText(path, mark, index) for index, path in enumerate(self.paths(stem, count))
        ]

    @classmethod
    def paths(cls, stem: Path, count: int) -> list[Path]:
        """Return the files of a run of so many structures."""
        return paths_of(stem, cls.suffix, count)

    def write(self, sample: Sample) -> None:
        """Append one frame to each file."""
        for index, file in enumerate(self._files):
            # In one piece: a kill leaves no half of a frame behind but at the very end.
            text = io.StringIO()
            ase.io.write(text, sample.atoms(index), format="extxyz")
            file.append(text.getvalue())

    def mark(self) -> Mark:
        """Return the sizes of the files in bytes."""
        return Mark(*map(list, zip(*(file.mark() for file in self._files), strict=True)))

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class TrajSink:
    """ASE's own binary trajectory: all digits, a file for each structure."""

    suffix: ClassVar[str] = ".traj"

    def __init__(self, stem: Path, count: int, mark: Mark | None) -> None:
        self._count = [0] * count if mark is None else list(mark.sizes)
        self._ends = [""] * count
        self._files: list[TrajectoryWriter] = []
        for index, path in enumerate(self.paths(stem, count)):
            if mark is not None:
                self._ends[index] = _keep_frames(path, mark, index)
            self._files.append(TrajectoryWriter(path, "w" if mark is None else "a"))

    @classmethod
    def paths(cls, stem: Path, count: int) -> list[Path]:
        """Return the files of a run of so many structures."""
        return paths_of(stem, cls.suffix, count)

    def write(self, sample: Sample) -> None:
        """Append one frame to each file."""
        for index, file in enumerate(self._files):
            file.write(sample.atoms(index))
            self._count[index] += 1
            self._ends[index] = digest_of(sample.positions[sample.slices[index]])

    def mark(self) -> Mark:
        """Return the number of frames in each file."""
        return Mark(list(self._count), list(self._ends))

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class Hdf5Sink:
    """HDF5: one file, a group for each structure, all digits, arrays that grow along time.

    ``/000`` has numbers (n,), pbc (3,), step (T,), time_fs (T,), positions (T, n, 3) Å, velocities
    (T, n, 3) Å/fs, forces (T, n, 3) eV/Å, cell (T, 3, 3) Å, potential_energy, kinetic_energy,
    conserved (T,) eV, temperature (T,) K, stress (T, 3, 3) eV/Å³ if it is computed, and uncertain
    (T,) if standard deviations are checked.
    """

    suffix: ClassVar[str] = ".h5"

    def __init__(self, stem: Path, count: int, mark: Mark | None) -> None:
        (path,) = self.paths(stem, count)
        self._frames = 0 if mark is None else mark.sizes[0]
        self._file = open_growing(path, None if mark is None else self._frames)
        self._end = ""
        if mark is not None and self._frames:
            last = [dataset_of(self._file, f"{index:03d}/positions")[-1] for index in range(count)]
            self._end = digest_of(np.concatenate(last))
            mark.check(path, 0, self._end)

    @classmethod
    def paths(cls, stem: Path, count: int) -> list[Path]:
        """Return the one file of a run."""
        return paths_of(stem, cls.suffix, 1)

    def write(self, sample: Sample) -> None:
        """Append one frame to each group."""
        for index, here in enumerate(sample.slices):
            group = self._file.require_group(f"{index:03d}")
            if "numbers" not in group:
                group["numbers"] = sample.templates[index].numbers
                group["pbc"] = sample.templates[index].pbc
            values: dict[str, float | np.ndarray] = {
                "step": sample.step,
                "time_fs": sample.time,
                "cell": sample.cell[index],
            }
            for name in ("positions", "velocities", "forces"):
                values[name] = getattr(sample, name)[here]
            for name in ("potential_energy", "kinetic_energy", "conserved", "temperature"):
                values[name] = getattr(sample, name)[index]
            if sample.stress is not None:
                values["stress"] = sample.stress[index]
            if sample.findings is not None:
                values["uncertain"] = sample.findings.notes(index, sample.step)["uncertain"]
            for name, value in values.items():
                append_rows(group, name, np.asarray(value)[None], self._frames)
        self._frames += 1
        self._end = digest_of(sample.positions)
        make_durable(self._file)

    def mark(self) -> Mark:
        """Return the number of frames."""
        return Mark([self._frames], [self._end])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LogSink:
    """The log: one CSV row for each structure and sample."""

    suffix: ClassVar[str] = ".csv"

    def __init__(self, stem: Path, count: int, mark: Mark | None) -> None:
        (path,) = self.paths(stem, count)
        self._file = GrowingText(path, mark)
        if mark is None:
            self._file.append(_csv([LOG_COLUMNS]))

    @classmethod
    def paths(cls, stem: Path, count: int) -> list[Path]:
        """Return the one file of a run."""
        return paths_of(stem, cls.suffix, 1)

    def write(self, sample: Sample) -> None:
        """Append one row for each structure."""
        sizes = np.abs(np.linalg.det(sample.cell))
        pressures, rows = sample.pressure, []
        for index in range(len(sample)):
            potential, kinetic = sample.potential_energy[index], sample.kinetic_energy[index]
            rows.append(
                (
                    index,
                    sample.step,
                    sample.time * 1e-3,
                    potential,
                    kinetic,
                    potential + kinetic,
                    sample.temperature[index],
                    sample.conserved[index],
                    pressures[index],
                    sizes[index],
                )
            )
        self._file.append(_csv(rows))

    def mark(self) -> Mark:
        """Return the size of the file in bytes."""
        size, end = self._file.mark()
        return Mark([size], [end])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


SINKS: dict[str, type[Sink]] = {"extxyz": ExtxyzSink, "traj": TrajSink, "hdf5": Hdf5Sink}
"""Format in a configuration → who writes it."""


class GrowingText:
    """A text file that grows by whole pieces, anew or from where a mark says."""

    def __init__(self, path: Path, mark: Mark | None, index: int = 0) -> None:
        self._path = path
        if mark is None:
            self._file = path.open("wb")
            self._size = 0
            return
        self._size = mark.sizes[index]
        if not path.exists() or path.stat().st_size < self._size:
            raise ValueError(SHORTER.format(path))
        mark.check(path, index, self._end())
        self._file = path.open("r+b")
        self._file.truncate(self._size)
        self._file.seek(self._size)

    def append(self, text: str) -> None:
        """Append a piece, and hand it to the operating system."""
        content = text.encode()
        self._file.write(content)
        self._file.flush()
        self._size += len(content)

    def mark(self) -> tuple[int, str]:
        """Return the size in bytes, and what the file is known by again."""
        return self._size, self._end()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _end(self) -> str:
        with self._path.open("rb") as file:
            beginning = file.read(min(KNOWN_BY, self._size))
            file.seek(max(self._size - KNOWN_BY, 0))
            return hashlib.sha256(beginning + file.read(min(KNOWN_BY, self._size))).hexdigest()


def digest_of(values: Float[np.ndarray, "..."]) -> str:
    """Return what the last rows of an array file are known by again."""
    return hashlib.sha256(np.ascontiguousarray(values, np.float64).tobytes()).hexdigest()


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv_writer(text).writerows(rows)
    return text.getvalue()


def _keep_frames(path: Path, mark: Mark, index: int) -> str:
    """Remove all frames of an ASE trajectory but those marked; return what the last is known by."""
    count = mark.sizes[index]
    if not path.exists():
        raise ValueError(SHORTER.format(path))
    with TrajectoryReader(path) as frames:
        if len(frames) < count:
            raise ValueError(SHORTER.format(path))
        last = frames[count - 1] if count else None
        end = digest_of(last.positions) if isinstance(last, ase.Atoms) else ""
        mark.check(path, index, end)
        if len(frames) == count:
            return end
        partial = path.with_name(f".{path.name}.partial")
        with TrajectoryWriter(partial, "w") as kept:
            for frame in range(count):
                kept.write(frames[frame])
    partial.replace(path)
    return end
