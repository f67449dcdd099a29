"""Structures stored as arrays: MD17-style npz, and HDF5 as SPICE and ANI lay it out."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from tensornet_jax.data.labels import ALIASES, STATE_ALIASES, LabelConfig
from tensornet_jax.units import Quantity, conversion_factor

_NUMBERS = ("z", "nuclear_charges", "atomic_numbers", "numbers", "species", "Z")
_POSITIONS = ("R", "coords", "coordinates", "conformations", "positions")
_CELLS = ("cell", "cells", "lattice", "box")
_QUANTITY: dict[str, Quantity] = {
    "energy": "energy",
    "forces": "force",
    "gradient": "force",
    "stress": "stress",
    "virial": "energy",
    "dipole": "dipole",
}


def read_npz(path: Path, config: LabelConfig) -> Iterator[tuple[Atoms, str]]:
    """Yield the frames of an npz file with atomic numbers, positions (n, N, 3) and labels.

    Numbers are (N,) or (n, N), where zeros pad shorter molecules. Nothing is unpickled.

    Raises:
        ValueError: arrays are missing, pickled, or of unequal length.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = _wanted(config) & set(file.files)
            columns = {key: file[key] for key in sorted(wanted)}
            keys = set(file.files)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: cannot be read without unpickling: {error}") from error
    if not (keys & set(_NUMBERS) and keys & set(_POSITIONS)):
        raise ValueError(
            f"{path}: needs one of {_NUMBERS} and one of {_POSITIONS}; has {sorted(keys)}"
        )
    if keys & set(_CELLS):
        raise ValueError(f"{path}: periodic npz is not supported: convert to extended XYZ")
    for index, atoms in enumerate(_structures(columns, str(path))):
        yield atoms, str(index)


def read_hdf5(path: Path, config: LabelConfig) -> Iterator[tuple[Atoms, str]]:
    """Yield the frames of every HDF5 group that holds atomic numbers and positions.

    The root may be such a group (a flat, MD17-like file). A `units` attribute on a dataset, as
    SPICE has it, must agree with the configuration.

    Raises:
        ValueError: the file is not HDF5, or has no such group, or units or lengths disagree.
    """
    wanted = _wanted(config)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as HDF5: {error}") from error
    with file:
        for group in _structure_groups(file):
            where = f"{path}:{group.name}"
            columns = {}
            for key in sorted(wanted & set(group)):
                dataset = group[key]
                if isinstance(dataset, h5py.Dataset):
                    _check_units(dataset, key, config, where)
                    columns[key] = _read(dataset, where)
            if set(_CELLS) & set(group):
                raise ValueError(f"{where}: periodic HDF5 is not supported: use extended XYZ")
            name = str(group.name).strip("/")
            for index, atoms in enumerate(_structures(columns, where)):
                yield atoms, f"{name}:{index}" if name else str(index)


def _wanted(config: LabelConfig) -> set[str]:
    labels = {key for kind in ALIASES for key in config.keys(kind)}
    states = {key for kind in STATE_ALIASES for key in config.state_keys(kind)}
    return labels | states | {*_NUMBERS, *_POSITIONS}


def _structure_groups(group: h5py.Group) -> Iterator[h5py.Group]:
    if set(group) & set(_NUMBERS) and set(group) & set(_POSITIONS):
        yield group
        return
    for name in group:
        # Soft and external links may lead in circles or out of the file.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        child = group[name]
        if isinstance(child, h5py.Group):
            yield from _structure_groups(child)


def _read(dataset: h5py.Dataset, where: str) -> Any:
    try:
        return dataset[()]
    except OSError as error:
        raise ValueError(f"{where}: {dataset.name} cannot be read: {error}") from error


def _check_units(dataset: h5py.Dataset, key: str, config: LabelConfig, where: str) -> None:
    written = dataset.attrs.get("units")
    if written is None:
        return
    written = written.decode() if isinstance(written, bytes) else str(written)
    quantity: Quantity | None = "length" if key in _POSITIONS else None
    for kind, of_kind in _QUANTITY.items():
        if key in config.keys(kind):
            quantity = of_kind
    if quantity is None:
        return
    try:
        factor = conversion_factor(written, quantity)
    except ValueError:
        return
    if not np.isclose(factor, config.units.factor(quantity), rtol=1e-3):
        raise ValueError(
            f"{where}/{key}: the file says {written}, the configuration "
            f"{getattr(config.units, quantity) or 'the unit that follows from energy and length'}: "
            f"set labels.units.{quantity} to {written}"
        )


def _structures(columns: Mapping[str, Any], where: str) -> Iterator[Atoms]:
    """Yield Atoms whose info holds one row of every column.

    Args:
        columns: numbers (N,) or (n, N); positions (n, N, 3) or (N, 3); others (n, …).
    """
    numbers = _atomic_numbers(next(columns[key] for key in _NUMBERS if key in columns), where)
    positions = np.asarray(next(columns[key] for key in _POSITIONS if key in columns), float)
    others = {
        key: np.asarray(value)
        for key, value in columns.items()
        if key not in _NUMBERS and key not in _POSITIONS
    }
    if positions.ndim == 2:
        positions = positions[None]
        others = {key: value[None] for key, value in others.items()}
    num = len(positions)
    if numbers.ndim == 1:
        numbers = np.broadcast_to(numbers, (num, len(numbers)))
    if positions.shape != (*numbers.shape, 3):
        raise ValueError(
            f"{where}: positions {positions.shape} do not fit atomic numbers {numbers.shape}"
        )
    for key, value in others.items():
        if value.ndim == 0:
            others[key] = np.broadcast_to(value, num)
        elif len(value) != num:
            raise ValueError(f"{where}: {key} has {len(value)} rows for {num} structures")
    for index in range(num):
        real = numbers[index] > 0
        atoms = Atoms(numbers[index][real], positions[index][real])
        for key, value in others.items():
            row = value[index]
            atoms.info[key] = row[real] if row.shape == (len(real), 3) else row
        yield atoms


def _atomic_numbers(values: Any, where: str) -> np.ndarray:
    """Return integer atomic numbers from numbers or from symbols in any string type."""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(int)
    if array.dtype.kind == "f" and (array == np.round(array)).all():
        return array.astype(int)
    symbols = [s.decode() if isinstance(s, bytes) else str(s) for s in array.ravel()]
    unknown = sorted(set(symbols) - set(atomic_numbers))
    if unknown:
        raise ValueError(f"{where}: unknown chemical symbols {unknown}")
    return np.array([atomic_numbers[s] for s in symbols]).reshape(array.shape)
