"""Labels under one set of names, whatever a file called them and wherever ASE put them.

ASE's extended XYZ reader moves `energy`, `forces`, `stress`, … into a SinglePointCalculator whose
`get_forces()` zeroes the rows of constrained atoms; labels are therefore taken from its results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pydantic
from ase import Atoms

from tensornet_jax.config import Config
from tensornet_jax.data.electronic_state import (
    STATE_ALIASES,
    drop_aliases,
    warn_of_initial_charges,
)
from tensornet_jax.data.tensor_labels import (
    KeyOrTensorLabel,
    drop_tensors,
    set_tensor_labels,
    tensors_of,
)
from tensornet_jax.units import Quantity, conversion_factor

PROPERTIES = ("energy", "forces", "stress", "dipole")
CANONICAL = {name: f"REF_{name}" for name in PROPERTIES}

# Searched in this order where the configuration names no key. `gradient` is dE/dr, minus the
# force; `virial` is minus the stress times the volume.
ALIASES: dict[str, tuple[str, ...]] = {
    "energy": (
        *("REF_energy", "energy", "Energy", "energies", "dft_energy", "dft_total_energy"),
        *("total_energy", "TotEnergy", "E", "free_energy"),
    ),
    "forces": ("REF_forces", "forces", "Forces", "force", "dft_forces", "F"),
    "gradient": ("REF_gradient", "gradient", "gradients", "dft_total_gradient"),
    "stress": ("REF_stress", "stress", "Stress", "dft_stress"),
    "virial": ("REF_virial", "virial", "virials", "Virial", "dft_virial"),
    "dipole": ("REF_dipole", "dipole", "dipoles", "dipole_moment", "dft_dipole", "scf_dipole"),
}
_QUANTITY: dict[str, Quantity] = {
    "energy": "energy",
    "forces": "force",
    "stress": "stress",
    "dipole": "dipole",
}
_MINUS_OF = {"forces": "gradient", "stress": "virial"}
# Found beside every energy that an ASE calculator reports, so not worth a remark.
_UNREMARKABLE = {"free_energy", "energies", "numbers", "positions"}
_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


class LabelUnits(Config):
    """Units of the data. Force and stress follow from energy and length unless they are given.

    Spin is the multiplicity 2S + 1, or the number of unpaired electrons 2S.
    """

    energy: str = "eV"
    length: str = "Å"
    force: str | None = None
    stress: str | None = None
    dipole: str = "e·Å"
    spin: Literal["multiplicity", "unpaired_electrons"] = "multiplicity"

    @pydantic.model_validator(mode="after")
    def _known_units(self) -> "LabelUnits":
        for quantity in ("energy", "length", "force", "stress", "dipole"):
            self.factor(quantity)
        return self

    def factor(self, quantity: Quantity) -> float:
        """Return the factor from the data's unit of `quantity` to the package's."""
        name = getattr(self, quantity)
        if name is not None:
            return conversion_factor(name, quantity)
        power = {"force": 1, "stress": 3}[quantity]
        return self.factor("energy") / self.factor("length") ** power


class LabelConfig(Config):
    """Which keys of the data hold the labels (None: search the usual names), and their units.

    `gradient` (dE/dr = −forces) and `virial` (−volume·stress) may be named in place of forces and
    stress. Stress has ASE's sign: tension positive. `tensors` names where other tensors stand.
    `charge` and `spin` are no labels but inputs, the total charge and the spin multiplicity.
    """

    energy: str | None = None
    forces: str | None = None
    gradient: str | None = None
    stress: str | None = None
    virial: str | None = None
    dipole: str | None = None
    charge: str | None = None
    spin: str | None = None
    tensors: dict[str, KeyOrTensorLabel] = pydantic.Field(
        default={}, description="keys of tensors, by the name of the model's head"
    )
    units: LabelUnits = LabelUnits()

    @pydantic.model_validator(mode="after")
    def _one_name_each(self) -> "LabelConfig":
        for name, minus in _MINUS_OF.items():
            if getattr(self, name) is not None and getattr(self, minus) is not None:
                raise ValueError(f"labels.{name} and labels.{minus} are both given: keep one")
        if self.units.spin != "multiplicity" and self.spin is None:
            # Under the usual names a multiplicity is what is meant.
            raise ValueError(
                f"labels.units.spin is {self.units.spin}: name the key that has them, labels.spin"
            )
        return self

    def configured(self) -> dict[str, str]:
        """Return property → key for the keys that are named explicitly."""
        tensors = {f"tensors.{name}": label.key for name, label in self.tensors.items()}
        return {p: key for p in ALIASES if (key := getattr(self, p)) is not None} | tensors

    def state_keys(self, kind: str) -> tuple[str, ...]:
        """Return the keys to search for one of STATE_ALIASES."""
        explicit = getattr(self, kind)
        return STATE_ALIASES[kind] if explicit is None else (explicit,)

    def keys(self, kind: str) -> tuple[str, ...]:
        """Return the keys to search for a property, best first.

        Args:
            kind: one of ALIASES.
        """
        explicit = getattr(self, kind)
        if explicit is not None:
            return (explicit,)
        partner = {**_MINUS_OF, **{v: k for k, v in _MINUS_OF.items()}}.get(kind)
        if partner is not None and getattr(self, partner) is not None:
            return ()
        return ALIASES[kind]


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


def property_of(kind: str) -> str:
    """Return what a key of this kind labels: forces for gradient, stress for virial."""
    kind = kind.removeprefix("tensors.")
    return next((name for name, minus in _MINUS_OF.items() if minus == kind), kind)


def source_of(atoms: Atoms, index: int | None = None) -> str:
    """Return where a structure came from, for messages."""
    return str(atoms.info.get("source", "structure" if index is None else f"structure {index}"))


def electronic_state(atoms: Atoms) -> tuple[float, str]:
    """Return what tells two states of one geometry apart: charge and, as text, spin."""
    return float(atoms.info.get("charge", 0.0)) + 0.0, str(atoms.info.get("spin"))


def available_labels(atoms: Atoms) -> dict[str, Any]:
    """Return all values that may be labels: calculator results, arrays and info, unconstrained."""
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    return {**results, **arrays, **atoms.info}


def canonical_labels(atoms: Atoms, config: LabelConfig, source: str) -> Atoms:
    """Return a copy in eV and Å with labels under their canonical names and no calculator.

    Sets, where the label exists, `info["REF_energy"]` (eV), `arrays["REF_forces"]` ((N, 3), eV/Å),
    `info["REF_stress"]` ((3, 3), eV/Å³), `info["REF_dipole"]` ((3,), e·Å), all float64; always
    `info["charge"]` (e), `info["source"]`, and `info["label_keys"]` (property → key it was read
    from). `info["spin"]` is the multiplicity 2S + 1, if there is one. `info["ignored_labels"]`
    lists what was found and passed over, and is absent otherwise.
    Other tensors are set as `tensor_labels` describes.

    Args:
        atoms: a structure as a reader gave it, left as it is.
        config: names and units.
        source: file and frame, for messages.

    Raises:
        ValueError: a named label has the wrong shape, a label or position is infinite, the cell
            does not span the periodic directions, the charge is not a number, or two keys
            contradict each other.
    """
    found = available_labels(atoms)
    # Labels are gathered first: copy() drops the calculator that may hold them.
    atoms = atoms.copy()
    length = config.units.factor("length")
    if length != 1.0:
        atoms.set_cell(atoms.cell.array * length)
        atoms.positions *= length
    _check_geometry(atoms, source)

    keys: dict[str, str] = {}
    ignored: dict[str, list[str]] = {}
    values: dict[str, np.ndarray] = {}
    for name in PROPERTIES:
        passed_over: list[str] = []
        for kind in (name, _MINUS_OF.get(name)):
            if kind is None:
                continue
            for key in config.keys(kind):
                if key not in found:
                    continue
                value = _shaped(found[key], name, len(atoms))
                if value is None:
                    if getattr(config, kind) == key:
                        raise ValueError(
                            f"{source}: labels.{kind} is {key!r}, which has shape "
                            f"{np.shape(found[key])} and does not fit {len(atoms)} atoms"
                        )
                    if key not in _UNREMARKABLE:
                        passed_over.append(f"{key} (shape {np.shape(found[key])})")
                elif name in keys:
                    if key not in _UNREMARKABLE:
                        passed_over.append(key)
                elif name == "stress" and not (atoms.pbc.any() and atoms.cell.volume > 0):
                    passed_over.append(f"{key} (no periodic cell)")
                else:
                    values[name] = value * _factor(kind, config.units, atoms)
                    keys[name] = key
        if passed_over:
            ignored[name] = passed_over
    drop_tensors(atoms)
    tensor_keys = set_tensor_labels(atoms, found, config.tensors, source)
    for key in (*keys.values(), *CANONICAL.values()):
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    for name, value in values.items():
        _check_not_infinite(value, keys[name], source)
        if np.isnan(value).all():
            del keys[name]
        elif name == "forces":
            atoms.arrays["REF_forces"] = value
        else:
            atoms.info[CANONICAL[name]] = value if value.ndim else float(value)
    charge = _state(atoms.info, "charge", config, source)
    spin = _state(atoms.info, "spin", config, source)
    # Under their other names they could contradict what the configuration said.
    drop_aliases(atoms.info, "charge")
    if charge is None:
        atoms.info.pop("charge", None)
        warn_of_initial_charges(atoms, f" of {source}")
    atoms.info["charge"] = 0.0 if charge is None else charge
    if spin is not None:
        drop_aliases(atoms.info, "spin")
        spin += config.units.spin == "unpaired_electrons"
        atoms.info["spin"] = int(spin) if spin.is_integer() else spin
    elif config.spin is not None:
        # Under this name stands something else.
        atoms.info.pop("spin", None)
    atoms.info["source"] = source
    atoms.info["label_keys"] = keys | tensor_keys
    atoms.info.pop("ignored_labels", None)
    if ignored:
        atoms.info["ignored_labels"] = ignored
    return atoms


def check_configured(config: LabelConfig, available: Iterable[str]) -> None:
    """Raise ValueError if a key named in the configuration is in none of the structures.

    Args:
        config: label names.
        available: keys found in any structure.
    """
    available = set(available)
    named = config.configured() | {
        kind: key for kind in STATE_ALIASES if (key := getattr(config, kind)) is not None
    }
    for kind, key in named.items():
        if key not in available:
            present = ", ".join(sorted(available)) or "none"
            raise ValueError(
                f"labels.{kind} is {key!r}, which no structure has; keys present: {present}"
            )


def _factor(kind: str, units: LabelUnits, atoms: Atoms) -> float:
    if kind == "virial":
        return -units.factor("energy") / atoms.cell.volume
    return -units.factor("force") if kind == "gradient" else units.factor(_QUANTITY[kind])


def _shaped(value: Any, name: str, num_atoms: int) -> np.ndarray | None:
    """Return value as float64 in the property's shape, None where it cannot be that property."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        return None
    array = array.astype(np.float64)
    if name == "energy":
        return array.reshape(()) if array.size == 1 else None
    if name == "dipole":
        return array.reshape(3) if array.size == 3 else None
    if name == "forces":
        return array if array.shape == (num_atoms, 3) else None
    array = array.squeeze()
    if array.shape == (6,):
        return array[_VOIGT]
    if array.shape not in ((9,), (3, 3)):
        return None
    array = array.reshape(3, 3)
    with np.errstate(invalid="ignore"):  # infinities are reported by the caller
        asymmetry = np.abs(array - array.T).max()
    if asymmetry > 0.1 * np.abs(array).max():
        return None
    return 0.5 * (array + array.T)


def _check_geometry(atoms: Atoms, source: str) -> None:
    if not len(atoms):
        raise ValueError(f"{source}: no atoms: remove this structure")
    if (atoms.numbers < 1).any():
        raise ValueError(f"{source}: ghost atoms (Z = 0): remove them")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise ValueError(f"{source}: positions or cell are not finite: remove this structure")
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic):
        raise ValueError(
            f"{source}: pbc is {atoms.pbc.tolist()} but the cell does not span these directions: "
            'give the cell, or set pbc="F F F"'
        )


def _check_not_infinite(value: np.ndarray, key: str, source: str) -> None:
    if np.isinf(value).any():
        raise ValueError(f"{source}: {key} is infinite: write nan where a label is missing")


def _state(info: Mapping[str, Any], kind: str, config: LabelConfig, source: str) -> float | None:
    """Return total charge or spin; an array under the same name, of the atoms, is not it."""
    found = {}
    for key in config.state_keys(kind):
        value = np.asarray(info.get(key, ()))
        if value.size != 1 or value.dtype.kind not in "iuf":
            if key in info and key == getattr(config, kind):
                raise ValueError(
                    f"{source}: labels.{kind} is {key!r}, which is {info[key]!r}, not one number"
                )
            continue
        found[key] = float(value.reshape(()))
        if not np.isfinite(found[key]):
            unit = "the total charge in e" if kind == "charge" else "the multiplicity 2S + 1"
            raise ValueError(f"{source}: {key} is {found[key]}: give {unit}")
    if len(set(found.values())) > 1:
        raise ValueError(
            f"{source}: {' and '.join(found)} differ ({found}): keep one, or name the one that is "
            f"meant as labels.{kind}"
        )
    return next(iter(found.values()), None)
