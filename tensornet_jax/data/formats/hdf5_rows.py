"""Structures of HDF5 files by index, each read without the others of its group."""

import bisect
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from tensornet_jax.data.formats.array_files import (
    frames_of_arrays,
    label_keys,
    list_of,
    structure_groups,
    unit_of,
    wanted_keys,
)
from tensornet_jax.data.formats.array_frames import CELLS, NUMBERS, PBC, POSITIONS, named
from tensornet_jax.data.formats.frame import Frame
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.stated_units import StatedUnits, stated_in, states_units
from tensornet_jax.data.labels.total_charge import is_atomic_charges


class Hdf5Rows:
    """The structures of an HDF5 file, laid out as `array_files.read_hdf5` says.

    Datasets with a row for each structure are read one row at a time. A file of large compressed
    chunks is slow in random order: each read decompresses a chunk.

    Args:
        path: the file.
        config: names and units of the labels.

    Raises:
        ValueError: the file is damaged, locked or not HDF5, or no group has structures.
    """

    def __init__(self, path: Path, config: LabelConfig):
        self.path, self._config = path, config
        try:
            self._file = h5py.File(path, "r")
            groups = list(structure_groups(self._file, StatedUnits()))
        except BlockingIOError as error:
            raise ValueError(
                f"{path}: is locked by another process that writes to it: wait until it has ended, "
                "or read a copy"
            ) from error
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"{path}: cannot be read as HDF5: {error}: the file is damaged, cut off or of "
                "another kind"
            ) from error
        if not groups:
            raise ValueError(
                f"{path}: no group has one of {NUMBERS} and one of {POSITIONS}; the root has "
                f"{list_of(set(self._file))}"
            )
        self._groups = [_Group(path, group, stated, config) for group, stated in groups]
        self._ends = np.cumsum([len(group) for group in self._groups]).tolist()

    def __len__(self) -> int:
        return self._ends[-1]

    def name(self, index: int) -> str:
        """Return how messages name a structure: its group and its place there."""
        group, place = self._place(index)
        return group.name_of(place)

    def frame(self, index: int) -> Frame:
        """Read one structure.

        Raises:
            ValueError: it is damaged, or units or lengths disagree.
        """
        group, place = self._place(index)
        return group.frame(place)

    def _place(self, index: int) -> tuple["_Group", int]:
        which = bisect.bisect_right(self._ends, index)
        return self._groups[which], index - (self._ends[which - 1] if which else 0)


class _Group:
    """A group with structures of one number of atoms, or padded to one."""

    def __init__(self, path: Path, group: h5py.Group, stated: StatedUnits, config: LabelConfig):
        name = str(group.name).strip("/")
        self._name = name
        self.where = f"{path}:{name}" if name else str(path)
        self._keys = set(group)
        self._config = config.for_keys(self._keys)
        self._special = {names: named(self._keys, names) for names in (NUMBERS, CELLS, PBC)}
        positions = str(named(self._keys, POSITIONS))
        self._datasets: dict[str, h5py.Dataset] = {}
        for key in sorted(wanted_keys(self._config, self._keys)):
            dataset = group[key]
            if isinstance(dataset, h5py.Dataset):
                self._datasets[key] = dataset
        shape = self._datasets[positions].shape
        # What is not (n, N, 3) is one structure, or the error that the reader will say.
        self._num = shape[0] if len(shape) == 3 else 1
        self._by_row = {
            key
            for key, dataset in self._datasets.items()
            if len(shape) == 3 and self._has_rows(key, dataset.shape)
        }
        units = {key: unit_of(dataset) for key, dataset in self._datasets.items()}
        texts = {key: self._datasets[key][()] for key in self._datasets if states_units(key)}
        attributes = {key: unit for key, unit in units.items() if unit is not None}
        self._stated = stated | stated_in(texts) | StatedUnits(attributes)
        self._check_lengths()

    def __len__(self) -> int:
        return self._num

    def name_of(self, place: int) -> str:
        return f"{self._name}:{place}" if self._name else str(place)

    def frame(self, place: int) -> Frame:
        try:
            arrays = {
                key: np.asarray(dataset[place : place + 1] if key in self._by_row else dataset[()])
                for key, dataset in self._datasets.items()
            }
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{self.where}:{place}: cannot be read: {error}") from error
        (found,) = self._frames(arrays, place)
        return found

    def _frames(self, arrays: dict[str, np.ndarray], place: int) -> Iterator[Frame]:
        where = f"{self.where}:{place}"
        made = frames_of_arrays(arrays, self._keys, self._config, self._stated, where)
        for atoms, units, remarks in made:
            yield Frame(atoms, self.name_of(place), units, remarks)

    def _has_rows(self, key: str, shape: tuple[int, ...]) -> bool:
        """Return whether a dataset has a row for each structure, and not the same for all."""
        if shape[:1] != (self._num,):
            return False
        if key == self._special[NUMBERS] or is_atomic_charges(key):
            return len(shape) > 1
        # One cell, or one set of directions, for all of three structures.
        one_for_all = {self._special[CELLS]: (3, 3), self._special[PBC]: (3,)}
        return shape != one_for_all.get(key)

    def _check_lengths(self) -> None:
        """Raise ValueError where a label has rows, but not one for each structure."""
        for key in sorted(label_keys(self._config) & set(self._datasets) - self._by_row):
            shape = self._datasets[key].shape
            if self._num > 1 and shape not in ((), (1,)):
                raise ValueError(
                    f"{self.where}: {key} has {shape[0]} rows for {self._num} structures"
                )
