"""Labels of a structure under one set of names, in eV and Å; a missing one is NaN."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from tensornet_jax.data.labels.config import (
    ALIASES,
    PROPERTIES,
    STATE_ALIASES,
    LabelConfig,
    LabelUnits,
    property_of,
)
from tensornet_jax.data.labels.tensors import tensors_of
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
    "electronic_state",
    "free_energy_of",
    "labels_of",
    "property_of",
    "source_of",
]

CANONICAL = {row.name: row.label_key for row in LABELLED}
# An electronic free energy that differs from the energy used; no label, but the audit compares.
FREE_ENERGY = "REF_free_energy"


@dataclass(frozen=True)
class Labels:
    """Labels of one structure; a missing one is NaN.

    Attributes:
        energy: eV.
        forces: (N, 3) eV/Å.
        stress: (3, 3) eV/Å³, tension positive.
        dipole: (3,) e·Å.
        tensors: others by name, (3, …) or (N, 3, …); only those the structure has.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray
    dipole: np.ndarray
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Properties of which there is at least one component."""
        return tuple(n for n in (*PROPERTIES, *self.tensors) if not np.isnan(self.of(n)).all())

    def of(self, name: str) -> np.ndarray:
        """Return the label of a property or of a tensor; a missing tensor is one NaN."""
        label = getattr(self, name) if name in PROPERTIES else self.tensors.get(name, np.nan)
        return np.asarray(label, np.float64)


def labels_of(atoms: Atoms) -> Labels:
    """Return the canonical labels of a structure as float64, NaN where missing."""

    def array(found: Any, shape: tuple[int, ...]) -> np.ndarray:
        if found is None:
            return np.full(shape, np.nan)
        return np.array(found, dtype=np.float64).reshape(shape)

    return Labels(
        energy=float(atoms.info.get("REF_energy", np.nan)),
        forces=array(atoms.arrays.get("REF_forces"), (len(atoms), 3)),
        stress=array(atoms.info.get("REF_stress"), (3, 3)),
        dipole=array(atoms.info.get("REF_dipole"), (3,)),
        tensors=tensors_of(atoms),
    )


def free_energy_of(atoms: Atoms) -> float:
    """Return the free energy beside the energy label, eV; NaN where there is none or no other."""
    return float(atoms.info.get(FREE_ENERGY, np.nan))


def source_of(atoms: Atoms, index: int | None = None) -> str:
    """Return where a structure came from, for messages."""
    return str(atoms.info.get("source", "structure" if index is None else f"structure {index}"))


def electronic_state(atoms: Atoms) -> tuple[float, str]:
    """Return what tells two states of one geometry apart: charge and, as text, spin."""
    return float(atoms.info.get("charge", 0.0)) + 0.0, str(atoms.info.get("spin"))
