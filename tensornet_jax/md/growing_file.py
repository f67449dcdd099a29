"""HDF5 files whose arrays grow along time and can be cut where a restart file says."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

SHORTER = (
    "{} is shorter than when the restart file was written: restore it, or start anew with resume: "
    "false"
)


def open_growing(path: Path, rows: int | None) -> h5py.File:
    """Open a file for appending, anew or cut to a number of rows.

    Raises:
        ValueError: it has fewer rows.
    """
    if rows is None:
        return h5py.File(path, "w")
    file = h5py.File(path, "r+")
    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item))
    for dataset in found:
        if hasattr(dataset, "maxshape") and dataset.maxshape[0] is None:
            if dataset.shape[0] < rows:
                file.close()
                raise ValueError(SHORTER.format(path))
            dataset.resize(rows, axis=0)
    return file


def append_rows(group: h5py.Group, name: str, rows: np.ndarray, at: int) -> None:
    """Write rows (T, …) behind the first `at` rows of an array; make it if it is not there."""
    rows = np.asarray(rows)
    if name not in group:
        shape, limit = (0, *rows.shape[1:]), (None, *rows.shape[1:])
        group.create_dataset(name, shape, rows.dtype, maxshape=limit, chunks=True)
    dataset: Any = group[name]
    dataset.resize(at + len(rows), axis=0)
    dataset[at:] = rows
