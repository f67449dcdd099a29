"""Which of a structure's values are labels of properties: by key, shape and preference."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from jaxtyping import Float

from tensornet_jax.data.labels.config import MINUS_OF, PROPERTIES, LabelConfig, matrix_of_six
from tensornet_jax.data.labels.labels import FREE_ENERGY
from tensornet_jax.properties import KINDS
from tensornet_jax.units import Quantity

_QUANTITY: dict[str, Quantity] = {
    name: kind.quantity for name, kind in KINDS.items() if kind.quantity is not None
}
# Found beside every energy that an ASE calculator reports, so not worth a remark.
_UNREMARKABLE = {"free_energy", FREE_ENERGY, "energies"}
# Said of a label that is passed over for another which is not the same.
DIFFERS = "another value"
FREE_ENERGIES = (FREE_ENERGY, "free_energy")
_LEAST_DIFFERENCE = 1e-6  # eV; energies nearer than this are one


@dataclass(frozen=True)
class Found:
    """A label in the package's unit, the key it was under, and of which kind that key is."""

    value: Float[np.ndarray, "..."]
    key: str
    kind: str


@dataclass(frozen=True)
class Picked:
    """Labels of one structure before those that are missing are told from the others.

    Attributes:
        labels: by property.
        ignored: remarks on keys that were passed over, by property.
        free_energy: one that the structure has beside another energy, if they differ.
    """

    labels: dict[str, Found]
    ignored: dict[str, tuple[str, ...]] = field(default_factory=dict)
    free_energy: Found | None = None

    @property
    def from_virial(self) -> bool:
        """Whether the stress was read from a virial."""
        return "stress" in self.labels and self.labels["stress"].kind == "virial"

    @property
    def keys(self) -> set[str]:
        """The keys of all labels."""
        return {label.key for label in self.labels.values()}


def pick_labels(
    found: Mapping[str, object], atoms: Atoms, config: LabelConfig, source: str
) -> Picked:
    """Return the labels of the properties among all values of a structure.

    Args:
        found: the values, by key.
        atoms: the structure, in Å.
        config: names, units and signs.
        source: file and frame, for messages.

    Raises:
        ValueError: a named label has the wrong shape, or a label is infinite.
    """
    labels: dict[str, Found] = {}
    ignored: dict[str, tuple[str, ...]] = {}
    for name in PROPERTIES:
        label, passed_over = _pick(name, found, atoms, config, source)
        if label is not None:
            if np.isinf(label.value).any():
                raise ValueError(
                    f"{source}: {label.key} is infinite: write nan where a label is missing"
                )
            labels[name] = label
        if passed_over:
            ignored[name] = tuple(passed_over)
    if "forces" in labels and config.zero_forces == "missing" and len(atoms) > 1:
        forces = labels["forces"].value
        known = np.where(forces.any(axis=1, keepdims=True), forces, np.nan)
        labels["forces"] = replace(labels["forces"], value=known)
    return Picked(labels, ignored, _free_energy(found, labels.get("energy"), config))


def _pick(
    name: str, found: Mapping[str, object], atoms: Atoms, config: LabelConfig, source: str
) -> tuple[Found | None, list[str]]:
    """Return the label of a property, and remarks on keys that are passed over."""
    label: Found | None = None
    passed_over: list[str] = []
    kinds = (name, MINUS_OF[name]) if name in MINUS_OF else (name,)
    searched = [(kind, key) for kind in kinds for key in config.keys(kind)]
    for kind, key in searched:
        if key not in found:
            continue
        value = _shaped(found[key], name, len(atoms), config)
        if isinstance(value, str):
            if getattr(config, kind) == key:
                raise ValueError(f"{source}: labels.{kind} is {key!r}, which {value}")
            if key not in _UNREMARKABLE:
                passed_over.append(f"{key} ({value})")
        elif name == "stress" and not (atoms.pbc.any() and atoms.cell.volume > 0):
            passed_over.append(f"{key} (no periodic cell)")
        else:
            value = value * _factor(kind, config, atoms)
            if label is None:
                label = Found(value, key, kind)
            elif key not in _UNREMARKABLE:
                passed_over.append(f"{key} ({DIFFERS})" if _differ(label.value, value) else key)
    return label, passed_over


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return not np.allclose(one, other, rtol=1e-4, atol=1e-3, equal_nan=True)


def _free_energy(
    found: Mapping[str, object], energy: Found | None, config: LabelConfig
) -> Found | None:
    """Return a free energy that the structure has beside another energy, if they differ.

    One that the configuration has chosen between is not compared again.
    """
    if energy is None or energy.key in FREE_ENERGIES or config.energy is not None:
        return None
    for key in FREE_ENERGIES:
        value = _shaped(found[key], "energy", 1, config) if key in found else ""
        if not isinstance(value, str) and np.isfinite(value):
            value = value * config.units.factor("energy")
            different = abs(value - energy.value) > _LEAST_DIFFERENCE
            return Found(value, key, "energy") if different else None
    return None


def _factor(kind: str, config: LabelConfig, atoms: Atoms) -> float:
    if kind == "virial":
        return config.sign(kind) * config.units.factor("energy") / atoms.cell.volume
    return config.sign(kind) * config.units.factor(_QUANTITY[kind])


def _shaped(value: object, name: str, num_atoms: int, config: LabelConfig) -> np.ndarray | str:
    """Return value as float64 in the property's shape, or why it cannot be that property."""
    array = np.asarray(value)
    misfit = f"has shape {array.shape} and does not fit {num_atoms} atoms"
    if array.dtype.kind not in "iuf":
        return "is not numbers"
    array = array.astype(np.float64)
    if name == "energy":
        return array.reshape(()) if array.size == 1 else misfit
    if name == "dipole":
        return array.reshape(3) if array.size == 3 else misfit
    if name == "forces":
        return array if array.shape == (num_atoms, 3) else misfit
    array = array.squeeze()
    if array.shape == (6,):
        return matrix_of_six(array, config.stress_order)
    if array.shape not in ((9,), (3, 3)):
        return misfit
    array = array.reshape(3, 3)
    with np.errstate(invalid="ignore"):  # infinities are reported by the caller
        asymmetry = np.abs(array - array.T).max()
    if asymmetry > 0.1 * np.abs(array).max():
        return "is not a symmetric matrix"
    return 0.5 * (array + array.T)
