"""What may be wrong with force labels: zeros, frozen atoms, sizes, sums."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Int

from tensornet_jax.data.labelled_structure import LabelledStructure


def zero_forces(structures: Sequence[LabelledStructure]) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on forces that are exactly zero on every atom.

    Structures of one atom are left out: their forces are zero.
    """
    molecules = [each.labels.of("forces") for each in structures if len(each) > 1]
    labelled = [forces for forces in molecules if not np.isnan(forces).any()]
    zero = sum(not forces.any() for forces in labelled)
    if labelled and zero == len(labelled):
        return [
            f"all forces of all {zero} structures with forces are exactly zero: they were never "
            "computed, or lost: remove them from the data"
        ], []
    if zero:
        return [], [f"{zero} of {len(labelled)} structures have forces of exactly zero everywhere"]
    return [], []


def zero_rows(structures: Sequence[LabelledStructure]) -> list[str]:
    """Warnings: atoms with forces of exactly zero among atoms that have forces.

    A few atoms may have them by symmetry: at least three in all, or two that are a tenth of their
    structures, are told. Atoms under a constraint are left to `constraints`.
    """
    atoms_zero = atoms_known = 0
    offenders = []
    for structure in structures:
        forces = structure.labels.of("forces")
        known = ~np.isnan(forces).any(axis=1)
        zero = np.logical_and(known, ~forces.any(axis=1))
        if len(structure) == 1 or not zero.any() or zero.sum() == known.sum():
            continue
        zero[constrained_atoms(structure.atoms)] = False
        if zero.any():
            atoms_zero += int(zero.sum())
            atoms_known += int(known.sum())
            offenders.append(f"{structure.source} (atoms {_some(np.flatnonzero(zero))})")
    if atoms_zero < 2 or (atoms_zero == 2 and atoms_known > 20):
        return []
    return [
        f"{atoms_zero} of {atoms_known} atoms in {len(offenders)} structures have forces of "
        f"exactly zero while others there do not, e.g. {offenders[0]}: were they frozen, and their "
        "forces never saved? They would be learnt: write nan for them, or set "
        "data.labels.zero_forces: missing (--label zero_forces=missing)"
    ]


def large_forces(structures: Sequence[LabelledStructure], limit: float) -> list[str]:
    """Warnings: atoms with |F| above limit, eV/Å, with the first three structures."""
    atoms_above, offenders = 0, []
    for structure in structures:
        lengths = np.linalg.norm(structure.labels.of("forces"), axis=1)
        above = int(np.count_nonzero(lengths > limit))
        atoms_above += above
        if above:
            offenders.append(f"{structure.source} ({np.nanmax(lengths):.0f})")
    if not offenders:
        return []
    return [
        f"{atoms_above} atoms in {len(offenders)} structures have |F| > {limit:g} eV/Å: "
        + ", ".join(offenders[:3])
    ]


def net_forces(structures: Sequence[LabelledStructure], limit: float) -> list[str]:
    """Warnings: structures whose forces do not sum to zero within limit, eV/Å."""
    net = [float(np.linalg.norm(each.labels.of("forces").sum(axis=0))) for each in structures]
    above = [index for index, value in enumerate(net) if value > limit]
    if not above:
        return []
    worst = max(above, key=lambda index: net[index])
    return [
        f"{len(above)} structures have a net force above {limit:g} eV/Å, largest {net[worst]:.2g} "
        f"in {structures[worst].source}: a model without external field cannot fit it"
    ]


def constraints(structures: Sequence[LabelledStructure]) -> list[str]:
    """Warnings: constrained atoms, whose forces `get_forces()` may have zeroed."""
    total = labelled = zero = 0
    for structure in structures:
        fixed = constrained_atoms(structure.atoms)
        total += len(fixed)
        forces = structure.labels.of("forces")[fixed]
        known = ~np.isnan(forces).any(axis=1)
        labelled += int(known.sum())
        zero += int(np.count_nonzero(~forces[known].any(axis=1)))
    if not total:
        return []
    text = f"{total} atoms are constrained; ASE's get_forces() would zero their forces"
    if labelled and zero == labelled:
        return [
            f"{text}, and the labels of all of them are zero: they were saved that way and would "
            "be learnt: compute them again without constraints, write nan, or set "
            "data.labels.zero_forces: missing"
        ]
    return [f"{text}, the labels were read without constraints ({zero} of {labelled} are zero)"]


def constrained_atoms(atoms: Atoms) -> Int[np.ndarray, " constrained"]:
    """Return the indices of atoms under any constraint that lists its atoms."""
    fixed = [c.get_indices() for c in atoms.constraints if hasattr(c, "get_indices")]
    return np.unique(np.concatenate(fixed)).astype(int) if fixed else np.zeros(0, dtype=int)


def _some(indices: np.ndarray) -> str:
    shown = ", ".join(str(index) for index in indices[:4])
    return f"{shown}, …" if len(indices) > 4 else shown
