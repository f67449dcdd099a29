"""Write structures as extended XYZ in canonical form: eV, Å, REF_ keys, every digit.

ASE's writer rounds to eight decimals; here numbers are the shortest that read back as the same
float64. What is written reads back with the labels, charges, spins and weights it had.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.io.extxyz import key_val_dict_to_str

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.bookkeeping import BOOKKEEPING
from tensornet_jax.data.labels.config import ALIASES, STATE_ALIASES
from tensornet_jax.data.labels.labels import CANONICAL, FREE_ENERGY
from tensornet_jax.data.labels.tensors import NAMES, PREFIX

SUFFIXES = (".xyz", ".extxyz")
_MOVE_MASK = "move_mask"
# What the form of the file itself says, and keys that mean something else when they are read.
_RESERVED = {"Lattice", "Properties", "pbc", _MOVE_MASK}
_LABELS = (*CANONICAL.values(), FREE_ENERGY)
_DROPPED = {
    *BOOKKEEPING,
    *_RESERVED,
    *(key for keys in (*ALIASES.values(), *STATE_ALIASES.values()) for key in keys),
}


def write_canonical(path: str | Path, structures: Sequence[LabelledStructure]) -> tuple[str, ...]:
    """Write structures with their labels as one extended XYZ file, whole or not at all.

    Keys under which labels are searched for are not written but for the canonical ones, so that
    nothing else can be taken for a label.

    Args:
        path: file to write, which is replaced.
        structures: as `read_labelled` returns them.

    Returns:
        What could not be kept, a sentence each.

    Raises:
        ValueError: a name or text cannot stand in such a file; the message has the structure.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    lost: dict[str, None] = {}
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for structure in structures:
                file.writelines(f"{line}\n" for line in _frame(structure))
                lost |= dict.fromkeys(_lost_constraints(structure.atoms))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return tuple(lost)


def _frame(structure: LabelledStructure) -> Iterator[str]:
    atoms, where = structure.to_atoms(notes=False), structure.source
    columns = _columns(atoms)
    for name, values in columns.items():
        if re.search(r"[\s:=\"']", name):
            raise ValueError(f"{where}: {name!r} cannot name a column of extended XYZ: rename it")
        if values.dtype.kind in "US" and any(re.search(r"\s|^$", str(v)) for v in values.flat):
            raise ValueError(f"{where}: column {name!r} has empty text or spaces: replace them")
    texts = np.concatenate([_texts(values) for values in columns.values()], axis=1)
    described = ":".join(
        f"{name}:{_type(values)}:{values.shape[1]}" for name, values in columns.items()
    )
    lattice = " ".join(_number(x) for x in atoms.cell.array.ravel())
    comment = [f'Lattice="{lattice}"'] if atoms.cell.array.any() else []
    comment += [f"Properties={described}", key_val_dict_to_str(_info(structure, atoms))]
    comment.append(f'pbc="{" ".join("FT"[int(periodic)] for periodic in atoms.pbc)}"')
    yield f"{len(atoms)}"
    yield " ".join(filter(None, comment))
    yield from (" ".join(row) for row in texts)


def _columns(atoms: Atoms) -> dict[str, np.ndarray]:
    """Return (N, columns) arrays by the name they have in the file."""
    known = {
        "species": np.array(atoms.get_chemical_symbols()),
        "pos": atoms.positions.astype(np.float64),
    }
    others = {
        name: np.asarray(values)
        for name, values in atoms.arrays.items()
        if name not in ("numbers", "positions") and (name not in _DROPPED or name in _LABELS)
    }
    mask = _move_mask(atoms)
    if mask is not None:
        others[_MOVE_MASK] = mask
    flat = {name: values.reshape(len(atoms), -1) for name, values in (known | others).items()}
    return {n: v.astype(str) if v.dtype.kind == "O" else v for n, v in flat.items()}


def _info(structure: LabelledStructure, atoms: Atoms) -> dict[str, object]:
    info = atoms.info
    tensors = structure.labels.tensors
    keys = (*_LABELS, *(PREFIX + name for name in tensors))
    first = {key: info[key] for key in keys if key in info}
    if "charge" in structure.keys or structure.state.charge != 0.0:
        first["charge"] = structure.state.charge
    if "spin" in info:
        first["spin"] = info["spin"]
    if tensors:
        first[NAMES] = " ".join(tensors)
    rest = {key: value for key, value in info.items() if key not in _DROPPED and key not in first}
    return {key: _writable(value) for key, value in (first | rest).items()}


def _writable(value: object) -> object:
    if isinstance(value, str) and ("\n" in value or "\r" in value):
        return " ".join(value.split())
    return value


def _move_mask(atoms: Atoms) -> np.ndarray | None:
    """Return which atoms (N, 1) or Cartesian components (N, 3) may move, None if all."""
    kinds = [c for c in atoms.constraints if isinstance(c, FixAtoms | FixCartesian)]
    if not kinds:
        return None
    by_component = any(isinstance(c, FixCartesian) for c in kinds)
    free = np.ones((len(atoms), 3 if by_component else 1), dtype=bool)
    for constraint in kinds:
        fixed = constraint.mask if isinstance(constraint, FixCartesian) else True
        free[constraint.index] &= ~np.asarray(fixed, dtype=bool)
    return free


def _lost_constraints(atoms: Atoms) -> list[str]:
    kinds = {
        type(c).__name__ for c in atoms.constraints if not isinstance(c, FixAtoms | FixCartesian)
    }
    return [f"constraints of kind {kind} cannot be kept in extended XYZ" for kind in sorted(kinds)]


def _type(values: np.ndarray) -> str:
    return {"f": "R", "i": "I", "u": "I", "b": "L"}.get(values.dtype.kind, "S")


def _texts(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.array([[_number(x) for x in row] for row in values.tolist()], dtype=object)
    if values.dtype.kind == "b":
        return np.where(values, "T", "F").astype(object)
    return values.astype(str).astype(object)


def _number(value: float) -> str:
    return repr(float(value))
