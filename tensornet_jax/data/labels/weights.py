"""How much a structure and each of its labels count, under the keys that MACE and QUIP write.

The weight of a label is that of its structure, `config_weight`, times its own, e.g.
`config_energy_weight`; what is not written is 1. A label of weight 0 is none.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

import numpy as np

from tensornet_jax.properties import KINDS

STRUCTURE = "config_weight"
# By the name of a property, or of what data have in its place.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    name: tuple(f"config_{own}_weight" for own in kind.weights or (name,))
    for name, kind in KINDS.items()
}


@dataclass(frozen=True)
class Weights:
    """Weights of one structure.

    Attributes:
        structure: its own; None where nothing is written.
        labels: those of labels by name, without the structure's; what is not written is absent.
    """

    structure: float | None = None
    labels: Mapping[str, float] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Return the weight of a label: the structure's times the label's own."""
        structure = 1.0 if self.structure is None else self.structure
        return structure * self.labels.get(name, 1.0)

    def times(self, factor: float) -> "Weights":
        """Return the weights of a structure that counts so much more."""
        own = 1.0 if self.structure is None else self.structure
        return Weights(factor * own, self.labels)

    def as_keys(self) -> dict[str, float]:
        """Return what is written, by the keys that files have."""
        own = {} if self.structure is None else {STRUCTURE: self.structure}
        return own | {key_of(name): weight for name, weight in self.labels.items()}


def take_weights(
    info: MutableMapping[str, object], names: Iterable[str], source: str, *, virial: bool = False
) -> Weights:
    """Take the weights of a structure and of labels out of what its file says of it.

    Args:
        info: values by key; loses those that are read. Weights are numbers, or text.
        names: the labels it may have: properties and tensors.
        source: file and frame, for messages.
        virial: whether its stress was read from a virial, whose weight is then meant if both are
            written.

    Raises:
        ValueError: a weight is negative or not a finite number, or two spellings of one key
            contradict each other; the message has the file and frame.
    """
    labels = {}
    for name in names:
        groups = _keys(name)
        if name == "stress" and virial:
            groups = groups[::-1]
        found = [_read(info, keys, source) for keys in groups]
        weight = next((weight for weight in found if weight is not None), None)
        if weight is not None:
            labels[name] = weight
        for key in (key for keys in groups for key in keys):
            info.pop(key, None)
    structure = _read(info, (STRUCTURE,), source)
    info.pop(STRUCTURE, None)
    return Weights(structure, labels)


def key_of(name: str) -> str:
    """Return the key under which the weight of a label is kept."""
    return f"config_{name}_weight"


def _keys(name: str) -> tuple[tuple[str, ...], ...]:
    """Return spellings of a label's weight; a later group counts where an earlier is absent."""
    if name == "stress":
        return _SPELLINGS["stress"], _SPELLINGS["virial"]
    return (_SPELLINGS.get(name, (key_of(name),)),)


def _read(info: Mapping[str, object], keys: tuple[str, ...], source: str) -> float | None:
    found = {key: _number(info[key], key, source) for key in keys if key in info}
    if len(set(found.values())) > 1:
        raise ValueError(f"{source}: {' and '.join(found)} differ ({found}): keep one")
    return next(iter(found.values()), None)


def _number(value: object, key: str, source: str) -> float:
    try:
        weight = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError):
        weight = float("nan")
    if not (np.isfinite(weight) and weight >= 0.0):
        raise ValueError(
            f"{source}: {key} is {value!r}: a weight is a number, 0 or above; 0 switches "
            "the label off"
        )
    return weight
