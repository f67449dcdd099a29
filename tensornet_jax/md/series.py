"""The file of recorded properties: short rows, many more of them than frames of a trajectory."""

from pathlib import Path
from typing import ClassVar

from tensornet_jax.md.growing_file import append_rows, open_growing
from tensornet_jax.md.simulation import Sample

SERIES_SUFFIX = ".series.h5"


class SeriesSink:
    """HDF5: one file, a group for each structure, all digits, arrays that grow along time.

    ``/000`` has numbers (n,), pbc (3,), step (T,), time_fs (T,), temperature (T,) K, volume (T,)
    Å³, and each recorded property under its name, (T, …) or (T, n, …), with attributes unit and
    per_atom.
    """

    suffix: ClassVar[str] = SERIES_SUFFIX

    def __init__(self, stem: Path, count: int, mark: list[int] | None) -> None:
        self._rows = 0 if mark is None else mark[0]
        rows = None if mark is None else self._rows
        self._file = open_growing(stem.with_name(stem.name + self.suffix), rows)

    def write(self, sample: Sample) -> None:
        """Append what was recorded since the sample before."""
        records = sample.records
        if records is None:
            return
        for index, here in enumerate(sample.slices):
            group = self._file.require_group(f"{index:03d}")
            if "numbers" not in group:
                group["numbers"] = sample.templates[index].numbers
                group["pbc"] = sample.templates[index].pbc
            rows = {"step": records.step, "time_fs": records.time, **records.of(index, here)}
            for name, values in rows.items():
                append_rows(group, name, values, self._rows)
            for name, unit in records.units.items():
                group[name].attrs.update(unit=unit, per_atom=name in records.per_atom)
        self._rows += len(records.step)
        self._file.flush()

    def mark(self) -> list[int]:
        """Return the number of records."""
        return [self._rows]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
