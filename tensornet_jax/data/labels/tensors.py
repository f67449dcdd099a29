"""Labels of scalars and tensors of any rank: where data keep them, and in which form.

In canonical form Atoms and files carry them flat, as extended XYZ can hold them: `info["REF_name"]`
(3ⁿ,) or `arrays["REF_name"]` (N, 3ⁿ), and `info["tensor_labels"]` says which there are.
"""

from collections.abc import Container, Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float
from pydantic import BeforeValidator, Field

from tensornet_jax.config import Config
from tensornet_jax.data.labels.weights import Weights
from tensornet_jax.properties import LABEL_PREFIX
from tensornet_jax.tensors.voigt import from_mandel, from_voigt

PREFIX = LABEL_PREFIX
NAMES = "tensor_labels"
_RANKS = {1: 0, 3: 1, 9: 2, 27: 3, 81: 4}
# Numbers of a tensor whose last one or two pairs of indices are packed, and those pairs.
_PACKED = {6: ((), 1), 18: ((3,), 1), 36: ((), 2)}


class TensorLabel(Config):
    """Where the data keep a tensor, and how."""

    key: str = Field(min_length=1, description="key of its numbers", examples=["polarizability"])
    aliases: tuple[str, ...] = Field(
        default=(), description="other keys of the same, for structures that lack the first"
    )
    factor: float = Field(default=1.0, description="from the data's unit to that of predictions")
    form: Literal["cartesian", "voigt", "mandel"] = Field(
        default="cartesian",
        description="cartesian: 1, 3, 9, 27 or 81 numbers; voigt (of stresses and stiffnesses) or "
        "mandel: 6, 18 or 36 numbers in the order xx, yy, zz, yz, xz, xy",
    )
    mask: str | None = Field(
        default=None, description="key of what is 0 or false where there is no label"
    )
    per: Literal["structure", "atom"] | None = Field(
        default=None,
        description="a tensor of the structure, or of each atom; null: as the file keeps it",
    )

    def for_keys(self, keys: Container[str]) -> "TensorLabel":
        """Return the label under the first of its keys that is there, itself if none is."""
        found = next((key for key in (self.key, *self.aliases) if key in keys), self.key)
        return self if found == self.key else self.model_copy(update={"key": found})


def _with_key(value: object) -> object:
    return {"key": value} if isinstance(value, str) else value


KeyOrTensorLabel = Annotated[TensorLabel, BeforeValidator(_with_key)]
"""A section, or only the key."""


class FoundTensors(NamedTuple):
    """Tensors of one structure in canonical form.

    Attributes:
        values: by name, (3, …) of the structure or (N, 3, …) of its atoms, NaN where missing.
        of_atoms: names of those that each atom has.
        keys: the key that each was read from.
    """

    values: dict[str, Float[np.ndarray, "..."]]
    of_atoms: frozenset[str]
    keys: dict[str, str]


def take_tensors(
    atoms: Atoms,
    found: Mapping[str, object],
    labels: Mapping[str, TensorLabel],
    weights: Weights,
    source: str,
) -> FoundTensors:
    """Take the tensors of a structure out of what its file says of it.

    Args:
        atoms: the structure; loses the tensors, those in canonical form also where they are unused.
        found: all values that may be labels, by key.
        labels: what to look for, by name.
        weights: of the structure and its labels; a label of weight 0 is missing.
        source: file and frame, for messages.

    Raises:
        ValueError: numbers that are no tensor in the form that was stated, or infinite ones.
    """
    per_atom = set(atoms.arrays)
    _drop_declared(atoms)
    values: dict[str, np.ndarray] = {}
    keys: dict[str, str] = {}
    of_atoms: set[str] = set()
    for name, label in labels.items():
        if label.key not in found:
            continue
        per = label.per or ("atom" if label.key in per_atom else "structure")
        value = _tensor(name, label, found, len(atoms) if per == "atom" else None, source)
        if np.isnan(value).all() or weights.of(name) == 0.0:
            continue
        keys[name] = label.key
        values[name] = value if per == "atom" else value[0]
        if per == "atom":
            of_atoms.add(name)
    for key in keys.values():
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    return FoundTensors(values, frozenset(of_atoms), keys)


def _tensor(
    name: str,
    label: TensorLabel,
    found: Mapping[str, object],
    num_atoms: int | None,
    source: str,
) -> Float[np.ndarray, "count ..."]:
    """Return (1 or N, 3, …) components, NaN where they are masked."""
    value = _cartesian(found[label.key], label, num_atoms)
    if value is None:
        counts = ", ".join(str(n) for n in (_RANKS if label.form == "cartesian" else _PACKED))
        owner = "the structure" if num_atoms is None else f"each of {num_atoms} atoms"
        raise ValueError(
            f"{source}: labels.tensors.{name} is {label.key!r}, which has shape "
            f"{np.shape(np.asarray(found[label.key]))}: form {label.form} needs {counts} numbers "
            f"for {owner}"
        )
    value = value * label.factor
    if label.mask is not None:
        mask = np.asarray(found.get(label.mask, True)).astype(bool)
        value[~np.broadcast_to(mask.reshape(mask.shape or (1,)), len(value))] = np.nan
    if np.isinf(value).any():
        raise ValueError(f"{source}: {label.key} is infinite: write nan where a label is missing")
    return value.reshape(len(value), *(3,) * _RANKS[value.shape[1]])


def declared_tensors(atoms: Atoms) -> dict[str, TensorLabel]:
    """Return where the tensors are that a structure in canonical form, or its file, says it has."""
    declared = atoms.info.get(NAMES, ())
    names = declared.split() if isinstance(declared, str) else [str(name) for name in declared]
    found = {}
    for name in names:
        if PREFIX + name in atoms.arrays:
            found[name] = TensorLabel(key=PREFIX + name, per="atom")
        elif PREFIX + name in atoms.info:
            found[name] = TensorLabel(key=PREFIX + name, per="structure")
    return found


def _drop_declared(atoms: Atoms) -> None:
    """Remove the tensors that a structure has in canonical form."""
    names = [*declared_tensors(atoms)]
    atoms.info.pop(NAMES, None)
    for name in names:
        atoms.info.pop(PREFIX + name, None)
        atoms.arrays.pop(PREFIX + name, None)


def _cartesian(
    value: object, label: TensorLabel, num_atoms: int | None
) -> Float[np.ndarray, "count components"] | None:
    """Return (1 or N, 3ⁿ) float64 components, None where the numbers cannot be such tensors."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return None
    count = 1 if num_atoms is None else num_atoms
    if not count or array.size % count or (num_atoms is not None and len(array) != num_atoms):
        return None
    array = array.reshape(count, -1).astype(np.float64)
    size = array.shape[1]
    if label.form == "cartesian":
        return array if size in _RANKS else None
    if size not in _PACKED:
        return None
    outer, pairs = _PACKED[size]
    unpack = from_voigt if label.form == "voigt" else from_mandel
    return unpack(array.reshape(count, *outer, *(6,) * pairs), pairs).reshape(count, -1)
