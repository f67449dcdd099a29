"""From what a file holds to a `LabelledStructure`: found under its key, checked, converted.

ASE's extended XYZ reader moves `energy`, `forces`, `stress`, … into a SinglePointCalculator whose
`get_forces()` zeroes the rows of constrained atoms; labels are therefore taken from its results.
"""

from collections.abc import Iterable

import numpy as np
from ase import Atoms

from tensornet_jax.data.auditing.unused_keys import unused_keys
from tensornet_jax.data.formats.species import HEAVIEST
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.bookkeeping import BOOKKEEPING
from tensornet_jax.data.labels.config import PROPERTIES, STATE_ALIASES, LabelConfig, matrix_of_six
from tensornet_jax.data.labels.electronic_state import take_state
from tensornet_jax.data.labels.labels import CANONICAL, Labels
from tensornet_jax.data.labels.picking import FREE_ENERGIES, pick_labels
from tensornet_jax.data.labels.stated_units import (
    NOTHING_STATED,
    StatedUnits,
    stated_in,
    with_stated_units,
)
from tensornet_jax.data.labels.tensors import declared_tensors, take_tensors
from tensornet_jax.data.labels.total_charge import unstated_charge
from tensornet_jax.data.labels.weights import take_weights


def available_labels(atoms: Atoms) -> dict[str, object]:
    """Return all values that may be labels: calculator results, arrays and info, unconstrained."""
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    stress = results.get("stress")
    if stress is not None and np.shape(stress) == (6,):
        # ASE's own order, whatever that of the file was.
        results["stress"] = matrix_of_six(stress)
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    return {**results, **arrays, **atoms.info}


def labelled_structure(
    atoms: Atoms,
    config: LabelConfig | None = None,
    source: str = "structure",
    stated: StatedUnits = NOTHING_STATED,
    remarks: tuple[str, ...] = (),
) -> LabelledStructure:
    """Return a structure with its labels in eV and Å.

    A label without any component that is known, or of weight 0, is missing.

    Args:
        atoms: a structure as a reader gave it, left as it is.
        config: names, units and signs; None for the usual names.
        source: file and frame, for messages.
        stated: units that the file states; used where the configuration has none.
        remarks: what the reader has to say.

    Raises:
        ValueError: units are not understood or contradict the configuration, a named label has the
            wrong shape, a label or position is infinite, the cell does not span the periodic
            directions, the charge is not a number, a weight is negative, or two keys contradict
            each other.
    """
    found = available_labels(atoms)
    # Labels are gathered first: copy() drops the calculator that may hold them.
    atoms = atoms.copy()
    config = (config or LabelConfig()).for_keys(found)
    config, unit_remarks = with_stated_units(config, stated, found, source)
    _convert_lengths(atoms, config.units.factor("length"))
    _check_geometry(atoms, source)
    picked = pick_labels(found, atoms, config, source)
    named = {name: label for name, label in config.tensors.items() if label.key in found}
    tensors = declared_tensors(atoms) | named
    names = (*PROPERTIES, *tensors)
    weights = take_weights(atoms.info, names, source, virial=picked.from_virial)
    taken = take_tensors(atoms, found, tensors, weights, source)
    _drop(atoms, (*picked.keys, *CANONICAL.values(), *FREE_ENERGIES))
    state, state_keys = take_state(atoms.info, config, source)
    charge_remarks = () if "charge" in state_keys else unstated_charge(found, atoms.numbers)
    _drop_notes(atoms)
    weighted = {n: f.value for n, f in picked.labels.items() if weights.of(n) != 0.0}
    labels = Labels(len(atoms), weighted | taken.values, taken.of_atoms)
    keys = {name: label.key for name, label in picked.labels.items() if name in labels}
    free = picked.free_energy if "energy" in labels else None
    if free is not None:
        keys["free_energy"] = free.key
    return LabelledStructure(
        atoms,
        labels,
        state,
        weights,
        float("nan") if free is None else float(free.value),
        source,
        keys | taken.keys | state_keys,
        picked.ignored,
        unused_keys(found, picked.keys, config, tensors),
        config.units,
        (*remarks, *unit_remarks, *charge_remarks),
    )


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


def _convert_lengths(atoms: Atoms, factor: float) -> None:
    if factor != 1.0:
        atoms.set_cell(atoms.cell.array * factor)
        atoms.positions *= factor


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


def _drop(atoms: Atoms, keys: Iterable[str]) -> None:
    for key in keys:
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)


def _drop_notes(atoms: Atoms) -> None:
    """Remove notes of an earlier reading, and units, which are not true of converted numbers."""
    for key, value in list(atoms.info.items()):
        if key in BOOKKEEPING or stated_in({key: value}) != NOTHING_STATED:
            del atoms.info[key]
