"""The faults that an audit looks for, each as a function from structures to sentences."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tensornet_jax.data.consistency import WorkSlope
from tensornet_jax.data.labels import (
    PROPERTIES,
    LabelConfig,
    available_labels,
    electronic_state,
    labels_of,
    property_of,
    source_of,
)
from tensornet_jax.data.references import ReferenceEnergies

_WRITTEN_BY_READER = {"source", "charge", "spin", "label_keys", "ignored_labels", "remarks"}
RESIDUAL_LIMIT = 50.0  # eV per atom; no binding energy is this large


def label_errors(atoms_list: Sequence[Atoms], labels: LabelConfig | None) -> list[str]:
    """Errors: nothing to learn from, infinite values, named keys that no structure has."""
    errors, usable = [], Counter()
    for index, atoms in enumerate(atoms_list):
        known = labels_of(atoms)
        for name in (*PROPERTIES, *known.tensors):
            values = known.of(name)
            usable[name] += int(np.isfinite(values).any())
            if np.isinf(values).any():
                errors.append(f"{source_of(atoms, index)}: infinite {name}: remove it")
        if not np.isfinite(atoms.positions).all():
            errors.append(f"{source_of(atoms, index)}: positions are not finite: remove it")
    if not any(count for name, count in usable.items() if name != "stress"):
        found = {key for atoms in atoms_list for key in available_labels(atoms)}
        present = sorted(found - _WRITTEN_BY_READER)
        errors.append(
            "no structure has an energy, forces, a dipole or a tensor: name their keys under "
            f"data.labels; keys present: {', '.join(present) or 'none'}"
        )
    return errors + ([] if labels is None else unused_keys(atoms_list, labels))


def unused_keys(atoms_list: Sequence[Atoms], labels: LabelConfig) -> list[str]:
    """Errors: keys that the configuration names, and that gave no structure a label."""
    return [
        f"labels.{kind} is {key!r}, from which no structure has a usable label"
        for kind, key in labels.configured().items()
        if not any(
            atoms.info.get("label_keys", {}).get(property_of(kind)) == key for atoms in atoms_list
        )
    ]


def zero_forces(atoms_list: Sequence[Atoms]) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on forces that are exactly zero on every atom.

    Structures of one atom are left out: their forces are zero.
    """
    labelled = [f for a in atoms_list if len(a) > 1 and _complete(f := labels_of(a).forces)]
    zero = sum(not forces.any() for forces in labelled)
    if labelled and zero == len(labelled):
        return [
            f"all forces of all {zero} structures with forces are exactly zero: they were never "
            "computed, or lost: remove them from the data"
        ], []
    if zero:
        return [], [f"{zero} of {len(labelled)} structures have forces of exactly zero everywhere"]
    return [], []


def passed_over(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: labels that were found and not used, because another key came first or misfits."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for atoms in atoms_list:
        for name, keys in atoms.info.get("ignored_labels", {}).items():
            used = atoms.info.get("label_keys", {}).get(name, "")
            counts.update((name, key, used) for key in keys)
    return [
        f"{name}: {key} is not used in {count} structures"
        + (f", {used} is" if used else "")
        + ("" if "(" in key else f" (labels.{name} would name another)")
        for (name, key, used), count in counts.items()
    ]


def reading_remarks(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: what the readers had to decide, each with how many structures it concerns."""
    concerned: dict[str, list[str]] = {}
    for index, atoms in enumerate(atoms_list):
        for remark in atoms.info.get("remarks", ()):
            concerned.setdefault(remark, []).append(source_of(atoms, index))
    return [
        f"{remark} ({len(sources)} structures, e.g. {sources[0]})"
        for remark, sources in concerned.items()
    ]


def large_forces(atoms_list: Sequence[Atoms], limit: float) -> list[str]:
    """Warnings: atoms with |F| above limit, eV/Å, with the first three structures."""
    atoms_above, offenders = 0, []
    for index, atoms in enumerate(atoms_list):
        lengths = np.linalg.norm(labels_of(atoms).forces, axis=1)
        above = int(np.count_nonzero(lengths > limit))
        atoms_above += above
        if above:
            offenders.append(f"{source_of(atoms, index)} ({np.nanmax(lengths):.0f})")
    if not offenders:
        return []
    return [
        f"{atoms_above} atoms in {len(offenders)} structures have |F| > {limit:g} eV/Å: "
        + ", ".join(offenders[:3])
    ]


def net_forces(atoms_list: Sequence[Atoms], limit: float) -> list[str]:
    """Warnings: structures whose forces do not sum to zero within limit, eV/Å."""
    net = [float(np.linalg.norm(labels_of(a).forces.sum(axis=0))) for a in atoms_list]
    above = [index for index, value in enumerate(net) if value > limit]
    if not above:
        return []
    worst = max(above, key=lambda index: net[index])
    return [
        f"{len(above)} structures have a net force above {limit:g} eV/Å, largest {net[worst]:.2g} "
        f"in {source_of(atoms_list[worst], worst)}: a model without external field cannot fit it"
    ]


def constraints(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: constrained atoms, whose forces `get_forces()` may have zeroed."""
    total = labelled = zero = 0
    for atoms in atoms_list:
        fixed = constrained_atoms(atoms)
        total += len(fixed)
        forces = labels_of(atoms).forces[fixed]
        known = ~np.isnan(forces).any(axis=1)
        labelled += int(known.sum())
        zero += int(np.count_nonzero(~forces[known].any(axis=1)))
    if not total:
        return []
    text = f"{total} atoms are constrained; ASE's get_forces() would zero their forces"
    if labelled and zero == labelled:
        return [
            f"{text}, and the labels of all of them are zero: they were saved that way and would "
            "be learnt: compute them again without constraints, or write nan"
        ]
    return [f"{text}, the labels were read without constraints ({zero} of {labelled} are zero)"]


def constrained_atoms(atoms: Atoms) -> np.ndarray:
    """Return the indices of atoms under any constraint that lists its atoms."""
    fixed = [c.get_indices() for c in atoms.constraints if hasattr(c, "get_indices")]
    return np.unique(np.concatenate(fixed)).astype(int) if fixed else np.zeros(0, dtype=int)


def repeated(atoms_list: Sequence[Atoms]) -> list[tuple[int, int]]:
    """Return (earlier, later) indices of structures equal in atoms, cell and state to 1e-6 Å."""
    seen: dict[tuple[bytes, ...], int] = {}
    pairs = []
    for index, atoms in enumerate(atoms_list):
        # Adding zero turns −0.0 into 0.0, whose bytes differ.
        key = (
            atoms.numbers.tobytes(),
            (np.round(atoms.positions, 6) + 0.0).tobytes(),
            (np.round(atoms.cell.array[atoms.pbc], 6) + 0.0).tobytes(),
            atoms.pbc.tobytes(),
            repr(electronic_state(atoms)).encode(),
        )
        first = seen.setdefault(key, index)
        if first != index:
            pairs.append((first, index))
    return pairs


def repetition_warnings(atoms_list: Sequence[Atoms], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Warnings: repeated structures, and those of them whose energies contradict each other.

    Args:
        atoms_list: structures.
        pairs: what `repeated` found among them.
    """
    if not pairs:
        return []

    def example(found: tuple[int, int]) -> str:
        first, second = (source_of(atoms_list[index], index) for index in found)
        return f"e.g. {second} and {first}"

    def energy(index: int) -> float:
        return labels_of(atoms_list[index]).energy

    warnings = [
        f"{len(pairs)} structures repeat an earlier one, {example(pairs[0])}: they may stand on "
        "both sides of a random split"
    ]
    # NaN compares false: an unlabelled repetition contradicts nothing.
    different = [pair for pair in pairs if abs(energy(pair[0]) - energy(pair[1])) > 1e-3]
    if different:
        warnings.append(
            f"{len(different)} repeated structures have another energy than the first, "
            f"{example(different[0])}: another spin state, level of theory or field? "
            "A model cannot tell them apart"
        )
    return warnings


def reference_warnings(references: ReferenceEnergies, residuals: np.ndarray) -> list[str]:
    """Warnings: undetermined reference energies, and ones that do not belong to the energies.

    Args:
        references: reference energies.
        residuals: (n,) energy per atom less the reference energies, eV; NaN where unlabelled.
    """
    warnings = []
    if references.undetermined:
        warnings.append(
            f"the data do not determine the reference energies of "
            f"{', '.join(references.undetermined)} separately (rank {references.rank} of "
            f"{len(references.numbers)}): other compositions will have wrong energies: "
            "give isolated-atom energies if that matters"
        )
    far = int(np.count_nonzero(np.abs(residuals) > RESIDUAL_LIMIT))
    if far and references.source != "none":
        warnings.append(
            f"{far} structures lie more than {RESIDUAL_LIMIT:g} eV per atom from the reference "
            f"energies ({references.source}): another level of theory or unit?"
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


def uncovered_elements(atoms_list: Sequence[Atoms], references: ReferenceEnergies) -> list[str]:
    """Errors: elements without a reference energy, with the first structure that has one."""
    errors, reported = [], set(references.numbers)
    for index, atoms in enumerate(atoms_list):
        for z in sorted({int(z) for z in atoms.numbers} - reported):
            reported.add(z)
            errors.append(
                f"element {chemical_symbols[z]} ({source_of(atoms, index)}) has no reference energy"
            )
    return errors


def _complete(forces: np.ndarray) -> bool:
    return not bool(np.isnan(forces).any())
