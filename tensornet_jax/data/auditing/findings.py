"""The faults that an audit looks for, each as a function from structures to sentences."""

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from tensornet_jax.data.auditing.consistency import WorkSlope
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig, property_of
from tensornet_jax.data.references import ReferenceEnergies

_OF_GEOMETRY = {"numbers", "positions", "charge", "spin"}
# eV per atom. Tungsten binds with 8.9; atoms without spin polarization lie a few eV higher.
BINDING_LIMIT = 12.0
UNBOUND_LIMIT = 0.1  # eV per atom above isolated atoms, where most structures should be below


def label_errors(structures: Sequence[LabelledStructure], labels: LabelConfig | None) -> list[str]:
    """Errors: nothing to learn from, infinite values, named keys that no structure has."""
    errors: list[str] = []
    usable: set[str] = set()
    for structure in structures:
        for name, values in structure.labels.items():
            if np.isfinite(values).any():
                usable.add(name)
            if np.isinf(values).any():
                errors.append(f"{structure.source}: infinite {name}: remove it")
        if not np.isfinite(structure.atoms.positions).all():
            errors.append(f"{structure.source}: positions are not finite: remove it")
    if not usable - {"stress"}:
        carriers = (structure.to_atoms(notes=False) for structure in structures)
        found = {key for atoms in carriers for key in (*atoms.arrays, *atoms.info)}
        present = sorted(found - _OF_GEOMETRY)
        errors.append(
            "no structure has an energy, forces, a dipole or a tensor: name their keys under "
            f"data.labels; keys present: {', '.join(present) or 'none'}"
        )
    return errors + ([] if labels is None else unused_keys(structures, labels))


def unused_keys(structures: Sequence[LabelledStructure], labels: LabelConfig) -> list[str]:
    """Errors: keys that the configuration names, and that gave no structure a label."""
    return [
        f"labels.{kind} is {key!r}, from which no structure has a usable label"
        for kind, key in labels.configured().items()
        if not any(
            structure.keys.get(property_of(kind)) in labels.accepted(kind)
            for structure in structures
        )
    ]


def repeated(structures: Sequence[LabelledStructure]) -> list[tuple[int, int]]:
    """Return (earlier, later) indices of structures equal in atoms, cell and state to 1e-6 Å."""
    seen: dict[tuple[object, ...], int] = {}
    pairs = []
    for index, structure in enumerate(structures):
        key = identity(structure)
        first = seen.setdefault(key, index)
        if first != index:
            pairs.append((first, index))
    return pairs


def identity(structure: LabelledStructure) -> tuple[object, ...]:
    """Return atoms, cell and state to 1e-6 Å: what repeated structures have in common."""
    atoms = structure.atoms
    # Adding zero turns −0.0 into 0.0, whose bytes differ.
    return (
        atoms.numbers.tobytes(),
        (np.round(atoms.positions, 6) + 0.0).tobytes(),
        (np.round(atoms.cell.array[atoms.pbc], 6) + 0.0).tobytes(),
        atoms.pbc.tobytes(),
        structure.state,
    )


def repetition_warnings(
    structures: Sequence[LabelledStructure], pairs: Sequence[tuple[int, int]]
) -> list[str]:
    """Warnings: repeated structures, and those of them whose energies contradict each other.

    Args:
        structures: with labels.
        pairs: what `repeated` found among them.
    """
    if not pairs:
        return []

    def example(found: tuple[int, int]) -> str:
        first, second = (structures[index].source for index in found)
        return f"e.g. {second} and {first}"

    warnings = [
        f"{len(pairs)} structures repeat an earlier one, {example(pairs[0])}: they may stand on "
        "both sides of a random split"
    ]
    # NaN compares false: an unlabelled repetition contradicts nothing.
    different = [
        (first, second)
        for first, second in pairs
        if abs(structures[first].energy - structures[second].energy) > 1e-3
    ]
    if different:
        warnings.append(
            f"{len(different)} repeated structures have another energy than the first, "
            f"{example(different[0])}: another spin state, level of theory or field? "
            "A model cannot tell them apart"
        )
    return warnings


def reference_warnings(
    references: ReferenceEnergies, residuals: Float[np.ndarray, " structures"]
) -> list[str]:
    """Warnings: undetermined reference energies, and ones that do not belong to the energies.

    Args:
        references: reference energies.
        residuals: energy per atom less the reference energies, eV; NaN where unlabelled.
    """
    warnings = []
    if references.undetermined:
        warnings.append(
            f"the data do not determine the reference energies of "
            f"{', '.join(references.undetermined)} separately (rank {references.rank} of "
            f"{len(references.numbers)}): other compositions will have wrong energies: "
            "give isolated-atom energies if that matters"
        )
    known = residuals[np.isfinite(residuals)]
    if not len(known) or references.source == "none":
        return warnings
    origin = "another level of theory, pseudopotential or unit?"
    far = np.abs(known) > BINDING_LIMIT
    if far.any():
        typical = float(np.median(known[far]))
        warnings.append(
            f"{int(far.sum())} structures lie more than {BINDING_LIMIT:g} eV per atom from the "
            f"reference energies E0 ({references.source}), typically {typical:.3g}, and no solid "
            f"or molecule binds so strongly: {origin}"
        )
    unbound = known > UNBOUND_LIMIT
    if not references.fitted and 2 * int(unbound.sum()) > len(known) and not far.all():
        warnings.append(
            f"{int(unbound.sum())} of {len(known)} structures lie above their isolated atoms by "
            f"the reference energies E0 ({references.source}), typically "
            f"{float(np.median(known[unbound])):.3g} eV per atom: {origin}"
        )
    return warnings


def work_warnings(force: WorkSlope | None, stress: WorkSlope | None) -> list[str]:
    """Warnings: energies that do not follow the work of the forces or of the stresses."""
    pairs = (("−ΔE against F·Δr", "forces", force), ("ΔE against V σ:ε", "stress", stress))
    return [
        f"units or sign of {name}: {what} has slope {found.slope:.3g} over {found.pairs} pairs of "
        f"near structures, not 1: check data.labels.units and the sign of the {name}"
        for what, name, found in pairs
        if found is not None and not found.plausible
    ]


def uncovered_elements(
    structures: Sequence[LabelledStructure], references: ReferenceEnergies
) -> list[str]:
    """Errors: elements without a reference energy, with the first structure that has one."""
    errors, reported = [], set(references.numbers)
    for structure in structures:
        for z in sorted({int(z) for z in structure.numbers} - reported):
            reported.add(z)
            errors.append(
                f"element {chemical_symbols[z]} ({structure.source}) has no reference energy"
            )
    return errors
