"""The file of recorded properties: short rows, many more of them than frames of a trajectory."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from tensornet_jax.md.output.growing_file import (
    append_rows,
    dataset_of,
    make_durable,
    open_growing,
)
from tensornet_jax.md.output.trajectory import Mark, digest_of
from tensornet_jax.md.sample import Sample

SERIES_SUFFIX = ".series.h5"


class SeriesSink:
    """HDF5: one file, a group for each structure, all digits, arrays that grow along time.

    ``/000`` has numbers (n,), pbc (3,), step (T,), time_fs (T,), temperature (T,) K, volume (T,)
    Å³, and each recorded property under its name, (T, …) or (T, n, …), with attributes unit and
    per_atom.
    """

    suffix: ClassVar[str] = SERIES_SUFFIX

    def __init__(self, stem: Path, count: int, mark: Mark | None) -> None:
        (path,) = self.paths(stem, count)
        self._rows = 0 if mark is None else mark.sizes[0]
        self._file = open_growing(path, None if mark is None else self._rows)
        self._end = ""
        if mark is not None and self._rows:
            last = [
                dataset_of(self._file, f"{index:03d}/temperature")[-1] for index in range(count)
            ]
            self._end = digest_of(np.array(last))
            mark.check(path, 0, self._end)

    @classmethod
    def paths(cls, stem: Path, count: int) -> list[Path]:
        """Return the one file of a run."""
        return [stem.with_name(stem.name + cls.suffix)]

    def write(self, sample: Sample) -> None:
        """Append what was recorded since the sample before."""
        records = sample.records
        if records is None:
            return
        for index, here in enumerate(sample.slices):
            group = self._file.require_group(f"{index:03d}")
            new = "numbers" not in group
            if new:
                group["numbers"] = sample.templates[index].numbers
                group["pbc"] = sample.templates[index].pbc
            rows = {"step": records.step, "time_fs": records.time, **records.of(index, here)}
            for name, values in rows.items():
                append_rows(group, name, values, self._rows)
            for name, unit in records.units.items() if new else ():
                group[name].attrs.update(unit=unit, per_atom=name in records.per_atom)
        self._rows += len(records.step)
        self._end = digest_of(records.temperature[-1])
        make_durable(self._file)

    def mark(self) -> Mark:
        """Return the number of records."""
        return Mark([self._rows], [self._end])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
