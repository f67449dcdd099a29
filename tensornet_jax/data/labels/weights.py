"""How much a structure and each of its labels count, under the keys that MACE and QUIP write.

The weight of a label is that of its structure, `config_weight`, times its own, e.g.
`config_energy_weight`; what is not written is 1. A label of weight 0 is none.
"""

from typing import Any

import numpy as np
from ase import Atoms

from tensornet_jax.properties import KINDS

STRUCTURE = "config_weight"
# By the name of a property, or of what data have in its place.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    name: tuple(f"config_{own}_weight" for own in kind.weights or (name,))
    for name, kind in KINDS.items()
}


def weight_of(atoms: Atoms, name: str) -> float:
    """Return the weight of a label: the structure's times the label's own, 1 unless written.

    Args:
        atoms: a structure; its `info` holds the weights, as numbers or as text.
        name: energy, forces, stress, dipole, or the name of a tensor.

    Raises:
        ValueError: a weight is negative or not a finite number, or two spellings of one key
            contradict each other; the message has the file and frame.
    """
    own = label_weight(atoms, name)
    return _read(atoms, (STRUCTURE,), 1.0) * (1.0 if own is None else own)


def label_weight(atoms: Atoms, name: str) -> float | None:
    """Return a label's own weight, without the structure's; None where the file has none."""
    found = [_read(atoms, keys) for keys in _keys(name)]
    return next((weight for weight in found if weight is not None), None)


def set_canonical_weights(atoms: Atoms, names: tuple[str, ...], *, virial: bool) -> None:
    """Rewrite the weights of a structure as float64 under one key each.

    Args:
        atoms: the structure, changed.
        names: the labels it may have.
        virial: whether its stress was read from a virial, whose weight is then meant if both are
            written.

    Raises:
        ValueError: as `weight_of`.
    """
    own = {name: label_weight(atoms, name) for name in names}
    if virial and (weight := _read(atoms, _SPELLINGS["virial"])) is not None:
        own["stress"] = weight
    structure = _read(atoms, (STRUCTURE,))
    for name in names:
        for key in (key for keys in _keys(name) for key in keys):
            atoms.info.pop(key, None)
    atoms.info |= {key_of(name): weight for name, weight in own.items() if weight is not None}
    if structure is not None:
        atoms.info[STRUCTURE] = structure


def key_of(name: str) -> str:
    """Return the key under which the weight of a label is kept."""
    return f"config_{name}_weight"


def _keys(name: str) -> tuple[tuple[str, ...], ...]:
    """Return spellings of a label's weight; a later group counts where an earlier is absent."""
    if name == "stress":
        return _SPELLINGS["stress"], _SPELLINGS["virial"]
    return (_SPELLINGS.get(name, (key_of(name),)),)


def _read(atoms: Atoms, keys: tuple[str, ...], default: float | None = None) -> Any:
    found = {key: _number(atoms, key) for key in keys if key in atoms.info}
    if len(set(found.values())) > 1:
        raise ValueError(f"{_where(atoms)}: {' and '.join(found)} differ ({found}): keep one")
    return next(iter(found.values()), default)


def _number(atoms: Atoms, key: str) -> float:
    value = atoms.info[key]
    try:
        weight = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError):
        weight = float("nan")
    if not (np.isfinite(weight) and weight >= 0.0):
        raise ValueError(
            f"{_where(atoms)}: {key} is {value!r}: a weight is a number, 0 or above; 0 switches "
            "the label off"
        )
    return weight


def _where(atoms: Atoms) -> str:
    return str(atoms.info.get("source", "structure"))
