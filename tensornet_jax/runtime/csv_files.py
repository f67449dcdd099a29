"""How this package writes CSV: UTF-8, comma, one line end on every system, whole or not at all."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Writer

from tensornet_jax.runtime.whole_files import replacing


def csv_writer(file: IO[str]) -> "Writer":
    """Return a `csv.writer` for a file that was opened with `newline=""`."""
    return csv.writer(file, lineterminator="\n")


def append_csv(path: Path, row: Sequence[object]) -> None:
    """Add a row to a file in one piece."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv_writer(file).writerow(row)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, replacing the file in one step.

    Args:
        path: the file.
        columns: the header.
        rows: of as many values.
    """
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv_writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
