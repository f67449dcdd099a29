"""From what a file holds to canonical labels: found under its key, checked, converted, renamed.

ASE's extended XYZ reader moves `energy`, `forces`, `stress`, … into a SinglePointCalculator whose
`get_forces()` zeroes the rows of constrained atoms; labels are therefore taken from its results.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from tensornet_jax.data.auditing.unused_keys import unused_keys
from tensornet_jax.data.formats.species import HEAVIEST
from tensornet_jax.data.labels.config import MINUS_OF, PROPERTIES, LabelConfig, matrix_of_six
from tensornet_jax.data.labels.electronic_state import STATE_ALIASES, drop_aliases
from tensornet_jax.data.labels.labels import CANONICAL, FREE_ENERGY
from tensornet_jax.data.labels.stated_units import (
    NOTHING_STATED,
    StatedUnits,
    stated_in,
    with_stated_units,
)
from tensornet_jax.data.labels.tensors import declared_tensors, drop_tensors, set_tensor_labels
from tensornet_jax.data.labels.total_charge import unstated_charge
from tensornet_jax.data.labels.weights import set_canonical_weights, weight_of
from tensornet_jax.properties import KINDS
from tensornet_jax.units import Quantity

_QUANTITY: dict[str, Quantity] = {
    name: kind.quantity for name, kind in KINDS.items() if kind.quantity is not None
}
# Found beside every energy that an ASE calculator reports, so not worth a remark.
_UNREMARKABLE = {"free_energy", FREE_ENERGY, "energies"}
# Said of a label that is passed over for another which is not the same.
DIFFERS = "another value"
_FREE_ENERGIES = (FREE_ENERGY, "free_energy")
_LEAST_DIFFERENCE = 1e-6  # eV; energies nearer than this are one


@dataclass(frozen=True)
class _Found:
    """A label in the package's unit, the key it was under, and of which kind that key is."""

    value: np.ndarray
    key: str
    kind: str


def available_labels(atoms: Atoms) -> dict[str, Any]:
    """Return all values that may be labels: calculator results, arrays and info, unconstrained."""
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    stress = results.get("stress")
    if stress is not None and np.shape(stress) == (6,):
        # ASE's own order, whatever that of the file was.
        results["stress"] = matrix_of_six(stress)
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    return {**results, **arrays, **atoms.info}


def canonical_labels(
    atoms: Atoms, config: LabelConfig, source: str, stated: StatedUnits = NOTHING_STATED
) -> Atoms:
    """Return a copy in eV and Å with labels under their canonical names and no calculator.

    Sets, where the label exists, `info["REF_energy"]` (eV), `arrays["REF_forces"]` ((N, 3), eV/Å),
    `info["REF_stress"]` ((3, 3), eV/Å³), `info["REF_dipole"]` ((3,), e·Å), all float64; always
    `info["charge"]` (e), `info["source"]`, and `info["label_keys"]` (property, and charge and spin
    if they were stated → key it was read from). `info["spin"]` is the multiplicity 2S + 1, if
    there is one. `info["ignored_labels"]` lists what was found and passed over,
    `info["unused_keys"]` what looks like a label and was not looked for, `info["remarks"]` what
    else a person should know about how the structure was read; they are absent where there is
    nothing to say.
    Weights are set as `weights` describes; a label of weight 0 is missing.
    Other tensors are set as `tensor_labels` describes.

    Args:
        atoms: a structure as a reader gave it, left as it is.
        config: names, units and signs.
        source: file and frame, for messages.
        stated: units that the file states; used where the configuration has none.

    Raises:
        ValueError: units are not understood or contradict the configuration, a named label has the
            wrong shape, a label or position is infinite, the cell does not span the periodic
            directions, the charge is not a number, a weight is negative, or two keys contradict
            each other.
    """
    found = available_labels(atoms)
    # Labels are gathered first: copy() drops the calculator that may hold them.
    atoms = atoms.copy()
    config = config.for_keys(found)
    config, remarks = with_stated_units(config, stated, found, source)
    length = config.units.factor("length")
    if length != 1.0:
        atoms.set_cell(atoms.cell.array * length)
        atoms.positions *= length
    _check_geometry(atoms, source)
    atoms.info["source"] = source

    picked: dict[str, _Found] = {}
    ignored: dict[str, list[str]] = {}
    for name in PROPERTIES:
        label, passed_over = _pick(name, found, atoms, config, source)
        if label is not None:
            picked[name] = label
        if passed_over:
            ignored[name] = passed_over
    free = _free_energy(found, picked.get("energy"), config)
    named = {name: label for name, label in config.tensors.items() if label.key in found}
    tensors = declared_tensors(atoms) | named
    drop_tensors(atoms)
    stress = picked.get("stress")
    virial = stress is not None and stress.kind == "virial"
    set_canonical_weights(atoms, (*PROPERTIES, *tensors), virial=virial)
    tensor_keys = set_tensor_labels(atoms, found, tensors, source)
    for key in (*(label.key for label in picked.values()), *CANONICAL.values(), *_FREE_ENERGIES):
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
    keys = _set_labels(atoms, picked, config, source)
    if free is not None and "energy" in keys:
        atoms.info[FREE_ENERGY] = float(free.value)
        keys["free_energy"] = free.key
    state_keys = _set_state(atoms, config, source)
    if "charge" not in state_keys:
        remarks += unstated_charge(found, atoms.numbers)
    keys |= tensor_keys | state_keys
    atoms.info["label_keys"] = keys
    _drop_units(atoms)
    unused = unused_keys(found, {label.key for label in picked.values()}, config, tensors)
    for name, value in (("ignored_labels", ignored), ("unused_keys", unused)):
        atoms.info.pop(name, None)
        if value:
            atoms.info[name] = value
    if remarks:
        atoms.info["remarks"] = (*atoms.info.get("remarks", ()), *remarks)
    return atoms


def check_configured(config: LabelConfig, available: Iterable[str]) -> None:
    """Raise ValueError if a key named in the configuration is in none of the structures.

    Args:
        config: label names.
        available: keys found in any structure.
    """
    available = set(available)
    config = config.for_keys(available)
    named = config.configured() | {
        kind: key for kind in STATE_ALIASES if (key := getattr(config, kind)) is not None
    }
    for kind, key in named.items():
        if key not in available:
            present = ", ".join(sorted(available)) or "none"
            raise ValueError(
                f"labels.{kind} is {key!r}, which no structure has; keys present: {present}"
            )


def _pick(
    name: str, found: Mapping[str, Any], atoms: Atoms, config: LabelConfig, source: str
) -> tuple[_Found | None, list[str]]:
    """Return the label of a property, and remarks on keys that are passed over."""
    label, passed_over = None, []
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
                label = _Found(value, key, kind)
            elif key not in _UNREMARKABLE:
                passed_over.append(f"{key} ({DIFFERS})" if _differ(label.value, value) else key)
    return label, passed_over


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return not np.allclose(one, other, rtol=1e-4, atol=1e-3, equal_nan=True)


def _set_labels(
    atoms: Atoms, picked: Mapping[str, _Found], config: LabelConfig, source: str
) -> dict[str, str]:
    """Store labels under their canonical names, and return the key of each that is not missing."""
    keys = {}
    for name, label in picked.items():
        value = label.value
        if np.isinf(value).any():
            raise ValueError(
                f"{source}: {label.key} is infinite: write nan where a label is missing"
            )
        if name == "forces" and config.zero_forces == "missing" and len(atoms) > 1:
            value = np.where(value.any(axis=1, keepdims=True), value, np.nan)
        if np.isnan(value).all() or weight_of(atoms, name) == 0.0:
            continue
        keys[name] = label.key
        if name == "forces":
            atoms.arrays["REF_forces"] = value
        else:
            atoms.info[CANONICAL[name]] = value if value.ndim else float(value)
    return keys


def _free_energy(
    found: Mapping[str, Any], energy: _Found | None, config: LabelConfig
) -> _Found | None:
    """Return a free energy that the structure has beside another energy, if they differ.

    One that the configuration has chosen between is not compared again.
    """
    if energy is None or energy.key in _FREE_ENERGIES or config.energy is not None:
        return None
    for key in _FREE_ENERGIES:
        value = _shaped(found[key], "energy", 1, config) if key in found else ""
        if not isinstance(value, str) and np.isfinite(value):
            value = value * config.units.factor("energy")
            different = abs(value - energy.value) > _LEAST_DIFFERENCE
            return _Found(value, key, "energy") if different else None
    return None


def _factor(kind: str, config: LabelConfig, atoms: Atoms) -> float:
    if kind == "virial":
        return config.sign(kind) * config.units.factor("energy") / atoms.cell.volume
    return config.sign(kind) * config.units.factor(_QUANTITY[kind])


def _shaped(value: Any, name: str, num_atoms: int, config: LabelConfig) -> np.ndarray | str:
    """Return value as float64 in the property's shape, or why it cannot be that property."""
    array = np.asarray(value)
    misfit = f"has shape {np.shape(value)} and does not fit {num_atoms} atoms"
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


def _check_geometry(atoms: Atoms, source: str) -> None:
    if not len(atoms):
        raise ValueError(f"{source}: no atoms: remove this structure")
    if (wrong := (atoms.numbers < 0) | (atoms.numbers > HEAVIEST)).any():
        raise ValueError(
            f"{source}: {atoms.numbers[wrong][0]} is not an atomic number: they go from 1 to "
            f"{HEAVIEST}"
        )
    if (atoms.numbers == 0).any():
        raise ValueError(f"{source}: ghost atoms (Z = 0): remove them")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise ValueError(f"{source}: positions or cell are not finite: remove this structure")
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) and np.linalg.matrix_rank(periodic) < len(periodic):
        raise ValueError(
            f"{source}: pbc is {atoms.pbc.tolist()} but the cell does not span these directions: "
            'give the cell, or set pbc="F F F"'
        )


def _drop_units(atoms: Atoms) -> None:
    """Remove what states units: it is not true of the converted numbers, wherever they go."""
    for key, value in list(atoms.info.items()):
        if stated_in({key: value}) != NOTHING_STATED:
            del atoms.info[key]


def _set_state(atoms: Atoms, config: LabelConfig, source: str) -> dict[str, str]:
    """Set total charge and spin multiplicity, and return the keys of those that are stated."""
    charge, charge_key = _state(atoms.info, "charge", config, source)
    spin, spin_key = _state(atoms.info, "spin", config, source)
    # Under their other names they could contradict what the configuration said.
    drop_aliases(atoms.info, "charge")
    atoms.info["charge"] = 0.0 if charge is None else charge
    if spin is not None:
        drop_aliases(atoms.info, "spin")
        spin += config.units.spin == "unpaired_electrons"
        atoms.info["spin"] = int(spin) if spin.is_integer() else spin
    elif config.spin is not None:
        # Under this name stands something else.
        atoms.info.pop("spin", None)
    keys = {"charge": charge_key, "spin": spin_key}
    return {kind: key for kind, key in keys.items() if key is not None}


def _state(
    info: Mapping[str, Any], kind: str, config: LabelConfig, source: str
) -> tuple[float | None, str | None]:
    """Return total charge or spin; an array under the same name, of the atoms, is not it."""
    found = {}
    for key in config.state_keys(kind):
        value = np.asarray(info.get(key, ()))
        if kind == "charge" and value.size == 1 and value.dtype.kind not in "iuf":
            raise ValueError(
                f"{source}: {key} is {info[key]!r}, not a number: give the total charge in e, or "
                "name the key that holds it as labels.charge"
            )
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
    key = next(iter(found), None)
    return (None, None) if key is None else (found[key], key)
