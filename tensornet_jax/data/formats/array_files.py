"""Structures stored as arrays: npz as MD17 and sGDML have it, HDF5 as SPICE and ANI lay it out."""

import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms

from tensornet_jax.data.auditing.unused_keys import look_of
from tensornet_jax.data.formats.array_frames import (
    CELLS,
    NUMBERS,
    PBC,
    POSITIONS,
    Columns,
    named,
    structures,
)
from tensornet_jax.data.formats.frame import FileFormat, Frame
from tensornet_jax.data.labels.labels import ALIASES, STATE_ALIASES, LabelConfig
from tensornet_jax.data.labels.stated_units import StatedUnits, is_unit, stated_in, states_units
from tensornet_jax.data.labels.total_charge import is_atomic_charges
from tensornet_jax.units import conversion_factor

_CELL_WORDS = ("cell", "lattice", "box")
_NOT_PERIODIC = "not periodic: if that is the cell, name it cell, lattice or box"


def read_npz(path: Path, config: LabelConfig) -> Iterator[Frame]:
    """Yield the frames of an npz file with atomic numbers, positions (n, N, 3) and labels.

    Numbers are (N,) or (n, N), where zeros pad shorter structures. Cells are vectors as rows, or
    lengths. Units are stated as sGDML does, by `e_unit` and `r_unit`. Nothing is unpickled.

    Raises:
        ValueError: arrays are missing, pickled, of unequal length or in units not understood.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = set(file.files)
            config = config.for_keys(keys)
            arrays = {key: file[key] for key in sorted(wanted_keys(config, keys))}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ValueError(f"{path}: cannot be read without unpickling: {error}") from error
    if named(keys, NUMBERS) is None or named(keys, POSITIONS) is None:
        raise ValueError(
            f"{path}: needs one of {NUMBERS} and one of {POSITIONS}; has {list_of(keys)}"
        )
    if "lattice" in arrays and {"e_unit", "r_unit"} & keys:
        # sGDML keeps lattice vectors as columns.
        arrays["lattice"] = np.swapaxes(arrays["lattice"], -1, -2)
    stated = stated_in({key: value for key, value in arrays.items() if states_units(key)})
    for index, (atoms, units, remarks) in enumerate(
        frames_of_arrays(arrays, keys, config, stated, str(path))
    ):
        yield Frame(atoms, str(index), units, remarks)


def read_hdf5(path: Path, config: LabelConfig) -> Iterator[Frame]:
    """Yield the frames of every HDF5 group that holds atomic numbers and positions.

    The root may be such a group (a flat, MD17-like file). Units are stated by attributes of
    datasets, as SPICE does, of groups above them, or by datasets such as `e_unit`.

    Raises:
        ValueError: the file is not HDF5, or has no such group, or units or lengths disagree.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as HDF5: {error}") from error
    with file:
        found = False
        for group, inherited in structure_groups(file, StatedUnits()):
            found = True
            name = str(group.name).strip("/")
            where = f"{path}:{name}" if name else str(path)
            arrays, attributes = {}, {}
            own = config.for_keys(set(group))
            for key in sorted(wanted_keys(own, set(group))):
                dataset = group[key]
                if isinstance(dataset, h5py.Dataset):
                    arrays[key] = _read(dataset, where)
                    if (unit := unit_of(dataset)) is not None:
                        attributes[key] = unit
            texts = {key: value for key, value in arrays.items() if states_units(key)}
            stated = inherited | stated_in(texts) | StatedUnits(attributes)
            frames = frames_of_arrays(arrays, set(group), own, stated, where)
            for index, (atoms, units, remarks) in enumerate(frames):
                yield Frame(atoms, f"{name}:{index}" if name else str(index), units, remarks)
        if not found:
            raise ValueError(
                f"{path}: no group has one of {NUMBERS} and one of {POSITIONS}; the root has "
                f"{list_of(set(file))}"
            )


NPZ = FileFormat(read_npz, frozenset({".npz"}))
HDF5 = FileFormat(read_hdf5, frozenset({".h5", ".hdf5", ".hdf"}))


def frames_of_arrays(
    arrays: Mapping[str, np.ndarray],
    keys: set[str],
    config: LabelConfig,
    stated: StatedUnits,
    where: str,
) -> Iterator[tuple[Atoms, StatedUnits, tuple[str, ...]]]:
    """Yield the structures of one group of arrays, the units of their labels, and remarks."""
    special = {names: named(arrays, names) for names in (NUMBERS, POSITIONS, CELLS, PBC)}
    smiles = named(arrays, ("smiles",))
    labels = label_keys(config)
    charges, remarks = _charges(arrays, special[NUMBERS], stated)
    num = len(arrays[str(special[POSITIONS])])
    others = {
        key: value
        for key, value in arrays.items()
        if (key in labels or _is_weight(key) or _is_told(key, value, num))
        and key not in special.values()
        and key != smiles
    }
    if special[CELLS] is None:
        remarks += tuple(
            f"{key} is not read, and the structures are taken as {_NOT_PERIODIC}"
            for key in sorted(keys)
            if any(word in key.lower().split("_") for word in _CELL_WORDS) and key not in others
        )
    columns = Columns(
        numbers=arrays[str(special[NUMBERS])],
        positions=arrays[str(special[POSITIONS])],
        others=others,
        cell=arrays.get(str(special[CELLS])),
        pbc=arrays.get(str(special[PBC])),
        charges=charges,
        smiles=None if smiles is None else arrays[smiles],
    )
    lengths = [special[POSITIONS], special[CELLS]]
    units = _of_labels(stated, others, keys, lengths, where)
    for atoms, told in structures(columns, config, where):
        yield atoms, units, remarks + told


def _of_labels(
    stated: StatedUnits,
    others: Collection[str],
    keys: set[str],
    lengths: Sequence[str | None],
    where: str,
) -> StatedUnits:
    """Return the units of labels and lengths; positions and cell must share one.

    Args:
        stated: what the file states of all its keys.
        others: keys of labels.
        keys: of the file.
        lengths: keys of positions and cell.
        where: file and group, for messages.
    """
    found = {k: stated.keys[k] for k in lengths if k is not None and k in stated.keys}
    if len(set(found.values())) > 1:
        raise ValueError(
            f"{where}: positions and cell are in different units "
            f"({', '.join(f'{key} in {unit}' for key, unit in found.items())}): write both in one"
        )
    kept = {key: unit for key, unit in stated.keys.items() if key in others or key not in keys}
    quantities = dict(stated.quantities)
    if found:
        quantities["length"] = next(iter(found.values()))
    return replace(stated, keys=kept, quantities=quantities)


def _charges(
    arrays: Mapping[str, np.ndarray], numbers: str | None, stated: StatedUnits
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return charges of atoms in e by key, those of density partitions that sum best first."""
    charges, remarks = {}, ()
    keys = [key for key in arrays if is_atomic_charges(key) and key != numbers]
    for key in sorted(keys, key=lambda key: ("mbis" not in key.lower(), key)):
        array = np.asarray(arrays[key])
        if array.dtype.kind not in "iuf" or array.ndim == 0:
            continue
        try:
            factor = conversion_factor(stated.keys.get(key, "e"), "charge")
        except ValueError:
            remarks += (f"{key} is in {stated.keys[key]!r}, which is not understood, and not used",)
            continue
        charges[key] = array * factor
    return charges, remarks


def label_keys(config: LabelConfig) -> set[str]:
    """Return the keys that may hold labels or states."""
    labels = {key for kind in ALIASES for key in config.keys(kind)}
    states = {key for kind in STATE_ALIASES for key in config.state_keys(kind)}
    tensors = {key for t in config.tensors.values() for key in (t.key, t.mask) if key is not None}
    return labels | states | tensors


def _is_weight(key: str) -> bool:
    """Return whether a key is one of the weights of structures and labels."""
    return key.startswith("config_") and key.endswith("weight")


def _is_told(key: str, value: np.ndarray, num: int) -> bool:
    """Return whether a key looks like a label that nothing reads, and has a row a structure."""
    return look_of(key) is not None and np.shape(value)[:1] == (num,)


def wanted_keys(config: LabelConfig, keys: set[str]) -> set[str]:
    """Return those of the keys of a file that are to be read."""
    special = (named(keys, names) for names in (NUMBERS, POSITIONS, CELLS, PBC, ("smiles",)))
    return (
        (label_keys(config) & keys)
        | {key for key in keys if _is_weight(key) or look_of(key) is not None}
        | {key for key in special if key is not None}
        | {key for key in keys if is_atomic_charges(key)}
        | {key for key in keys if states_units(key)}
    )


def structure_groups(
    group: h5py.Group, inherited: StatedUnits
) -> Iterator[tuple[h5py.Group, StatedUnits]]:
    """Yield the groups that hold structures, with the units that groups above and they state."""
    stated = inherited | stated_in(dict(group.attrs))
    if named(group, NUMBERS) is not None and named(group, POSITIONS) is not None:
        yield group, stated
        return
    texts = {}
    children = []
    for name in list(group.keys()):
        # Soft and external links may lead in circles or out of the file.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        child = group[name]
        if isinstance(child, h5py.Group):
            children.append(child)
        elif states_units(name) and isinstance(child, h5py.Dataset):
            texts[name] = child[()]
    for child in children:
        yield from structure_groups(child, stated | stated_in(texts))


def _read(dataset: h5py.Dataset, where: str) -> np.ndarray:
    try:
        return np.asarray(dataset[()])
    except OSError as error:
        raise ValueError(f"{where}: {dataset.name} cannot be read: {error}") from error


def unit_of(dataset: h5py.Dataset) -> str | None:
    """Return the text of a dataset's attribute `unit` or `units`, in any case."""
    for name, value in dataset.attrs.items():
        if name.lower() in ("unit", "units"):
            value = np.asarray(value).reshape(-1)
            text = value[0] if len(value) else ""
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
            return text if is_unit(text) else None
    return None


def list_of(keys: set[str]) -> str:
    """Return names for a message, the first of them where there are many."""
    shown = sorted(keys)
    return f"{shown[:20]} and {len(shown) - 20} more" if len(shown) > 20 else str(shown)
