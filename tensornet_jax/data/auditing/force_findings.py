"""What may be wrong with force labels: zeros, frozen atoms, sizes, sums."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from tensornet_jax.data.labels.labels import labels_of, source_of


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


def zero_rows(atoms_list: Sequence[Atoms]) -> list[str]:
    """Warnings: atoms with forces of exactly zero among atoms that have forces.

    A few atoms may have them by symmetry: at least three in all, or two that are a tenth of their
    structures, are told. Atoms under a constraint are left to `constraints`.
    """
    atoms_zero = atoms_known = 0
    offenders = []
    for index, atoms in enumerate(atoms_list):
        forces = labels_of(atoms).forces
        known = ~np.isnan(forces).any(axis=1)
        zero = np.logical_and(known, ~forces.any(axis=1))
        if len(atoms) == 1 or not zero.any() or zero.sum() == known.sum():
            continue
        zero[constrained_atoms(atoms)] = False
        if zero.any():
            atoms_zero += int(zero.sum())
            atoms_known += int(known.sum())
            offenders.append(f"{source_of(atoms, index)} (atoms {_some(np.flatnonzero(zero))})")
    if atoms_zero < 2 or (atoms_zero == 2 and atoms_known > 20):
        return []
    return [
        f"{atoms_zero} of {atoms_known} atoms in {len(offenders)} structures have forces of "
        f"exactly zero while others there do not, e.g. {offenders[0]}: were they frozen, and their "
        "forces never saved? They would be learnt: write nan for them, or set "
        "data.labels.zero_forces: missing (--label zero_forces=missing)"
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
            "be learnt: compute them again without constraints, write nan, or set "
            "data.labels.zero_forces: missing"
        ]
    return [f"{text}, the labels were read without constraints ({zero} of {labelled} are zero)"]


def constrained_atoms(atoms: Atoms) -> np.ndarray:
    """Return the indices of atoms under any constraint that lists its atoms."""
    fixed = [c.get_indices() for c in atoms.constraints if hasattr(c, "get_indices")]
    return np.unique(np.concatenate(fixed)).astype(int) if fixed else np.zeros(0, dtype=int)


def _some(indices: np.ndarray) -> str:
    shown = ", ".join(str(index) for index in indices[:4])
    return f"{shown}, …" if len(indices) > 4 else shown


def _complete(forces: np.ndarray) -> bool:
    return not bool(np.isnan(forces).any())
