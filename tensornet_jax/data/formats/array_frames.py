"""Structures from columns of arrays: elements, positions, cells, and a row of every other column.

Zeros at the end of a row of atomic numbers pad shorter structures; what pads their atoms' values
is taken off.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.cell import Cell

from tensornet_jax.data.formats.species import elements_of
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.labels.total_charge import derived_charge

# Compared without regard to case.
NUMBERS = (
    *("z", "nuclear_charges", "atomic_numbers", "atomic_number", "numbers", "species"),
    *("elements", "symbols"),
)
POSITIONS = ("r", "coords", "coordinates", "conformations", "positions", "pos", "xyz", "geometries")
CELLS = (
    *("cell", "cells", "lattice", "lattices", "lattice_vectors", "lattice_vector", "unit_cell"),
    *("unit_cells", "unitcell", "box", "boxes", "box_vectors", "cell_vectors", "latvec"),
)
PBC = ("pbc", "pbcs", "periodic")
# Shapes of a row that is a tensor, of a structure or, after the first axis, of an atom.
_TENSOR_SHAPES = {(3,), (9,), (27,), (81,), (6,), (18,), (36,), (3, 6), (6, 6)} | {
    (3,) * rank for rank in range(1, 5)
}


@dataclass(frozen=True)
class Columns:
    """Arrays of one group of structures.

    Attributes:
        numbers: (N,) or (n, N) atomic numbers or symbols.
        positions: (n, N, 3) or (N, 3).
        others: labels and states by key, (n, …).
        cell: vectors as rows, (3, 3) or (n, 3, 3), flat, lengths, or lengths and angles.
        pbc: (3,), (n, 3), (n,) or one.
        charges: of the atoms, e, (n, N) or (N,), by key, the one to be preferred first.
        smiles: one, or one each; None where there are none.
    """

    numbers: np.ndarray
    positions: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    charges: Mapping[str, np.ndarray] = field(default_factory=dict)
    smiles: np.ndarray | None = None


def named(keys: Iterable[str], names: tuple[str, ...]) -> str | None:
    """Return the first of `keys`, in the order of `names`, that has such a name in any case."""
    by_lower: dict[str, str] = {}
    for key in sorted(keys):
        by_lower.setdefault(key.lower(), key)
    return next((by_lower[name] for name in names if name in by_lower), None)


def structures(
    columns: Columns, config: LabelConfig, where: str
) -> Iterator[tuple[Atoms, tuple[str, ...]]]:
    """Yield Atoms and remarks on them; labels lie in info, those of atoms in arrays.

    Args:
        columns: the arrays.
        config: says which keys are labels of atoms.
        where: file and group, for messages.

    Raises:
        ValueError: lengths or shapes do not fit, atomic numbers are out of range or zero before
            others, a cell is not understood.
    """
    numbers, masses, positions, others = _fitted(columns, where)
    num = len(numbers)
    states = {key for kind in ("charge", "spin") for key in config.state_keys(kind)}
    others = {k: _rows(v, k, num, where, one_for_all=k in states) for k, v in others.items()}
    of_atoms = _keys_of_atoms(others, numbers, config, where)
    cells, pbc, cell_remarks = _cells(columns, num, where)
    stated = config.charge is not None or any(key in others for key in config.state_keys("charge"))
    for index in range(num):
        real, name = numbers[index] > 0, f"{where}:{index}"
        atoms = Atoms(numbers[index][real], positions[index][real], pbc=pbc[index])
        isotopes = ~np.isnan(masses[index][real])
        if isotopes.any():
            own = np.where(isotopes, masses[index][real], atoms.get_masses())
            atoms.set_array("masses", own, float)
        if cells is not None:
            atoms.set_cell(cells[index])
        for key, value in others.items():
            if key in of_atoms:
                atoms.set_array(key, value[index][real])
            else:
                atoms.info[key] = value[index]
        charge, remarks = (None, ()) if stated else _charge(columns, index, numbers[index], name)
        if charge is not None:
            atoms.info["charge"] = charge
        yield atoms, cell_remarks + remarks


def _fitted(
    columns: Columns, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return numbers (n, N), masses (n, N), positions (n, N, 3) and the other columns."""
    numbers, masses = elements_of(columns.numbers, where)
    positions = np.asarray(columns.positions, float)
    others = {key: np.asarray(value) for key, value in columns.others.items()}
    if positions.ndim == 2:
        positions = positions[None]
        others = {key: value[None] for key, value in others.items()}
    if positions.ndim != 3:
        raise ValueError(f"{where}: positions {positions.shape} are not (n, N, 3) or (N, 3)")
    column = numbers.ndim == 2 and numbers.shape == (positions.shape[1], 1) != positions.shape[:2]
    if column or (numbers.ndim == 3 and numbers.shape[-1] == 1):
        numbers, masses = numbers[..., 0], masses[..., 0]
    if numbers.ndim == 1:
        shape = (len(positions), len(numbers))
        numbers, masses = np.broadcast_to(numbers, shape), np.broadcast_to(masses, shape)
    if numbers.ndim != 2 or positions.shape != (*numbers.shape, 3):
        raise ValueError(
            f"{where}: positions {positions.shape} do not fit atomic numbers {numbers.shape}"
        )
    _check_padding(numbers, where)
    return numbers, masses, positions, others


def _charge(
    columns: Columns, index: int, numbers: np.ndarray, where: str
) -> tuple[int | None, tuple[str, ...]]:
    """Return the total charge of a structure from what the file has instead, and remarks."""
    shares = {}
    for key, value in columns.charges.items():
        array = np.asarray(value, float)
        if array.size % len(numbers) == 0:
            rows = array.reshape(-1, len(numbers))
            row = rows[min(index, len(rows) - 1)]
            if not np.array_equal(row, numbers):  # charges of the nuclei
                shares[key] = row[numbers > 0]
    if columns.smiles is None:
        return derived_charge(shares, None, where) if shares else (None, ())
    texts = np.asarray(columns.smiles).reshape(-1)
    text = texts[min(index, len(texts) - 1)]
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return derived_charge(shares, text, where)


def _rows(value: np.ndarray, key: str, num: int, where: str, *, one_for_all: bool) -> np.ndarray:
    if value.ndim == 0 or (one_for_all and value.shape == (1,)):
        return np.broadcast_to(value.reshape(()), num)
    if len(value) != num:
        raise ValueError(f"{where}: {key} has {len(value)} rows for {num} structures")
    return value


def _check_padding(numbers: np.ndarray, where: str) -> None:
    """Raise ValueError where a zero stands before an atom: only the end of a row is padding."""
    inside = (numbers[:, :-1] == 0) & (numbers[:, 1:] > 0)
    if inside.any():
        frame, atom = (int(i) for i in np.argwhere(inside)[0])
        raise ValueError(
            f"{where}:{frame}: atom {atom} has atomic number 0 and atoms after it: zeros may only "
            "pad the end of a structure; remove ghost atoms"
        )
    if (empty := ~numbers.any(axis=1)).any():
        frame = int(np.argmax(empty))
        raise ValueError(f"{where}:{frame}: no atoms: remove this structure")


def _keys_of_atoms(
    others: Mapping[str, np.ndarray], numbers: np.ndarray, config: LabelConfig, where: str
) -> set[str]:
    """Return the keys whose rows are values of atoms."""
    size = numbers.shape[1]
    forces = {*config.keys("forces"), *config.keys("gradient")}
    found = {key for key in others if key in forces and others[key].shape[1:] == (size, 3)}
    for name, label in config.tensors.items():
        if label.key not in others:
            continue
        shape = others[label.key].shape[1:]
        atomic = shape[:1] == (size,) and (len(shape) > 1 or label.per == "atom")
        if atomic and label.per is None and shape in _TENSOR_SHAPES:
            if shape[1:] in _TENSOR_SHAPES:
                raise ValueError(
                    f"{where}: {label.key} of shape {shape} may be a tensor of the structure or "
                    f"of each of {size} atoms: set labels.tensors.{name}.per to structure or atom"
                )
            atomic = False
        if atomic and label.per != "structure":
            found.add(label.key)
        mask = label.mask
        if mask is not None and mask in others and others[mask].shape[1:2] == (size,):
            found.add(mask)
    return found


def _cells(
    columns: Columns, num: int, where: str
) -> tuple[np.ndarray | None, np.ndarray, tuple[str, ...]]:
    """Return cells (n, 3, 3) or None, periodic directions (n, 3), and remarks."""
    cells = None if columns.cell is None else _vectors(np.asarray(columns.cell), num, where)
    if columns.pbc is not None:
        return cells, _directions(np.asarray(columns.pbc), num, where), ()
    if cells is None:
        return None, np.zeros((num, 3), bool), ()
    # As in extended XYZ: what has a cell is periodic, unless it says otherwise.
    periodic = np.asarray(cells.any(axis=2))
    told = "it has a cell and no pbc, and is taken as periodic along all vectors of the cell"
    return cells, periodic, (told,) if periodic.any() else ()


def _vectors(cell: np.ndarray, num: int, where: str) -> np.ndarray:
    if cell.dtype.kind not in "iuf":
        raise ValueError(f"{where}: the cell has type {cell.dtype}, not numbers")
    shape = cell.shape
    if num == 3 and shape == (3, 3) and (cell > 0).all():
        raise ValueError(
            f"{where}: a cell of shape (3, 3) may be vectors for all of the 3 structures or three "
            "lengths for each: write it as (3, 3, 3)"
        )
    if shape[-2:] == (3, 3) and shape[:-2] in ((), (1,), (num,)):
        result = cell
    elif shape[-1:] == (9,) and shape[:-1] in ((), (1,), (num,)):
        result = cell.reshape(*shape[:-1], 3, 3)
    elif shape[-1:] in ((3,), (6,)) and shape[:-1] in ((), (1,), (num,)):
        rows = cell.reshape(-1, shape[-1])
        result = np.array([Cell.new(row).array for row in rows]).reshape(*shape[:-1], 3, 3)
    else:
        raise ValueError(
            f"{where}: a cell of shape {shape} is not understood for {num} structures: write "
            "vectors as rows, (3, 3) or (n, 3, 3), or lengths, (3,) or (n, 3)"
        )
    return np.broadcast_to(result.astype(float), (num, 3, 3))


def _directions(pbc: np.ndarray, num: int, where: str) -> np.ndarray:
    if pbc.dtype.kind not in "biuf" or not np.isin(pbc, (0, 1)).all():
        raise ValueError(f"{where}: pbc must be true or false for each direction")
    pbc = pbc.astype(bool)
    if pbc.shape in ((num,), (num, 1)) and not (num == 3 and pbc.shape == (3,)):
        return np.broadcast_to(pbc.reshape(num, 1), (num, 3))
    if pbc.shape in ((), (1,), (3,), (1, 3), (num, 3)):
        return np.broadcast_to(pbc, (num, 3))
    raise ValueError(
        f"{where}: pbc of shape {pbc.shape} is not understood for {num} structures: write (3,) or "
        "(n, 3)"
    )
