"""A CSV file that a resumed run can cut back to what its checkpoint knows of."""

import csv
from collections.abc import Mapping
from pathlib import Path

from tensornet_jax.runtime.csv_files import append_csv, write_csv


class CsvLog:
    """Rows of numbers under fixed columns, each on disk as soon as it is written.

    Args:
        path: the file.
        columns: the header; a row must have exactly these keys.
        keep: rows of an existing file to keep; what follows is cut off. 0 starts a new file.

    Raises:
        ValueError: the existing file has other columns, or fewer rows than are to be kept.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int = 0):
        self.path = path
        self.columns = columns
        kept: list[list[str]] = []
        if keep:
            with path.open(newline="", encoding="utf-8") as file:
                lines = list(csv.reader(file))
            if not lines or tuple(lines[0]) != columns:
                raise ValueError(f"{path}: other columns than {', '.join(columns)}")
            kept = lines[1 : keep + 1]
            if len(kept) < keep:
                raise ValueError(f"{path}: {len(kept)} rows, but the checkpoint knows of {keep}")
        write_csv(path, columns, kept)
        self.num_rows = keep

    def append(self, row: Mapping[str, float | int | str]) -> None:
        """Write one row.

        Raises:
            ValueError: the row's keys are not the columns.
        """
        if set(row) != set(self.columns):
            raise ValueError(
                f"{self.path}: row has {sorted(row)} and the file {sorted(self.columns)}"
            )
        append_csv(self.path, [row[name] for name in self.columns])
        self.num_rows += 1


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the rows of a log, every value as a float."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
