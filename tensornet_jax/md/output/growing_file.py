"""HDF5 files whose arrays grow along time, can be read at any moment, and outlive a killed writer.

HDF5 promises that only to files in its mode "single writer, multiple readers" (SWMR), in which no
array can be made any more: all are there after the first rows. A killed writer leaves a mark in the
file by which HDF5 refuses to write on; whoever opens it here gets a copy without it.
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Shaped

from tensornet_jax.runtime.whole_files import replacing

SHORTER = (
    "{} is shorter than when the restart file was written: restore it, or start anew with resume: "
    "false, which overwrites what is left"
)
# The first format with SWMR.
FORMAT = ("v110", "v110")


def open_growing(path: Path, rows: int | None) -> h5py.File:
    """Open a file for appending, anew or cut to a number of rows.

    Raises:
        ValueError: it has fewer rows.
        OSError: it is not there, or not an HDF5 file.
    """
    if rows is None:
        return h5py.File(path, "w", libver=FORMAT)
    if not _is_of_this_format(path):
        _rewrite(path)
    file = h5py.File(path, "r+", libver=FORMAT)
    for dataset in _growing(file):
        if dataset.shape[0] < rows:
            file.close()
            raise ValueError(SHORTER.format(path))
        dataset.resize(rows, axis=0)
    return file


def _is_of_this_format(path: Path) -> bool:
    """Tell whether a file can grow; those of the first version of this package cannot."""
    try:
        with h5py.File(path, "r+", libver=FORMAT) as file:
            return file.id.get_create_plist().get_version()[0] >= 3
    except OSError:
        return False


def append_rows(
    group: h5py.Group, name: str, rows: Shaped[np.ndarray, "rows ..."], at: int
) -> None:
    """Write rows behind the first `at` rows of an array; make it if it is not there."""
    rows = np.asarray(rows)
    if name not in group:
        shape, limit = (0, *rows.shape[1:]), (None, *rows.shape[1:])
        group.create_dataset(name, shape, rows.dtype, maxshape=limit, chunks=True)
    dataset = dataset_of(group, name)
    dataset.resize(at + len(rows), axis=0)
    dataset[at:] = rows


def dataset_of(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return an array of a file by its path.

    Raises:
        ValueError: there is something else under this name.
    """
    found = group[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{group.file.filename}: {name} is not an array")
    return found


def make_durable(file: h5py.File) -> None:
    """Hand everything to the operating system, in an order in which a kill loses no row.

    From the first call on, no group, array or attribute can be made.
    """
    file.flush()
    if not file.swmr_mode:
        file.swmr_mode = True


def _growing(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []

    def note(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and (item.maxshape or (0,))[0] is None:
            found.append(item)

    file.visititems(note)
    return found


def _rewrite(path: Path) -> None:
    """Put a copy that can be written in the place of an old file, or of a killed writer's."""
    with (
        replacing(path) as partial,
        h5py.File(path, "r", swmr=True) as old,
        h5py.File(partial, "w", libver=FORMAT) as new,
    ):
        for name in old:
            old.copy(name, new)
