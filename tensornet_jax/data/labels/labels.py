"""Labels of a structure under one set of names, in eV and Å; a missing one is absent."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tensornet_jax.data.labels.config import (
    ALIASES,
    PROPERTIES,
    STATE_ALIASES,
    LabelConfig,
    LabelUnits,
    property_of,
)
from tensornet_jax.properties import LABELLED

__all__ = [
    "ALIASES",
    "CANONICAL",
    "FREE_ENERGY",
    "PROPERTIES",
    "STATE_ALIASES",
    "LabelConfig",
    "LabelUnits",
    "Labels",
    "property_of",
]

# The names that labels have in files that the package writes, and on Atoms that it hands out.
CANONICAL = {row.name: row.label_key for row in LABELLED}
# An electronic free energy that differs from the energy used; no label, but the audit compares.
FREE_ENERGY = "REF_free_energy"

_PER_ATOM = frozenset(row.name for row in LABELLED if row.per == "atom")
_SHAPES = {row.name: (3,) * row.rank for row in LABELLED}


class Labels(Mapping[str, Float[np.ndarray, "..."]]):
    """Labels of one structure, by the name of a property or of a tensor; read-only float64.

    energy () eV; forces (N, 3) eV/Å; stress (3, 3) eV/Å³, tension positive; dipole (3,) e·Å; other
    tensors (3, …), or (N, 3, …) where each atom has one, in the unit of predictions. A component
    that is missing is NaN; a label without any component is not in the mapping.
    """

    def __init__(
        self,
        num_atoms: int,
        labels: Mapping[str, ArrayLike] | None = None,
        of_atoms: frozenset[str] = frozenset(),
    ) -> None:
        """Take over labels in canonical units.

        Args:
            num_atoms: N.
            labels: by name, in any order; properties come before tensors.
            of_atoms: names of the tensors that each atom has.
        """
        self.num_atoms = num_atoms
        given = {name: np.array(value, np.float64) for name, value in (labels or {}).items()}
        names = [name for name in PROPERTIES if name in given]
        names += [name for name in given if name not in names]
        self._values: dict[str, np.ndarray] = {}
        for name in names:
            value = given[name]
            if name in PROPERTIES:
                value = value.reshape(self._shape(name))
            if not np.isnan(value).all():
                value.setflags(write=False)
                self._values[name] = value
        self.of_atoms = frozenset(name for name in self._values if name in of_atoms | _PER_ATOM)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Labels({', '.join(self._values)})"

    def of(self, name: str) -> Float[np.ndarray, "..."]:
        """Return a label, NaN where it is missing; a missing tensor is one NaN."""
        if name in self._values:
            return self._values[name]
        return np.full(self._shape(name) if name in PROPERTIES else (), np.nan)

    @property
    def tensors(self) -> dict[str, Float[np.ndarray, "..."]]:
        """The labels that are no properties, by name."""
        return {name: value for name, value in self.items() if name not in PROPERTIES}

    def replaced(self, labels: Mapping[str, ArrayLike]) -> "Labels":
        """Return the labels with some in place of those of the same names."""
        return Labels(self.num_atoms, {**self, **labels}, self.of_atoms)

    def _shape(self, name: str) -> tuple[int, ...]:
        return (*((self.num_atoms,) if name in _PER_ATOM else ()), *_SHAPES[name])
