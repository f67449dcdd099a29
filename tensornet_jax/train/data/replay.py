"""A second set that is trained on beside the new data, so that a model forgets less.

The network must mean one thing for both sets: the energy of bonding. Whatever zero the replay set's
energies have, they are counted from its own isolated atoms, and from then on it is treated as if
its atoms were those of the new data. What remains different between two levels of theory is the
bonding itself, and there the network has to settle between the two; with the starting model's own
predictions as targets there is no such conflict.
"""

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.potential.potential import Potential
from tensornet_jax.train.data.examples import Examples
from tensornet_jax.train.data.parts import ReplayParts


@dataclass(frozen=True)
class Replay:
    """A replay set ready for the network.

    Attributes:
        train: structures that are mixed into the batches.
        validation: structures whose errors show what is forgotten.
        batch_size: structures of `train` in each batch.
        weight: factor of their loss.
    """

    train: Examples
    validation: Examples
    batch_size: int
    weight: float


def counted_from(parts: ReplayParts, old: ReferenceEnergies, new: ReferenceEnergies) -> ReplayParts:
    """Return the replay set with its energies less the sums of `old` plus those of `new`."""

    def shifted(structure: LabelledStructure) -> LabelledStructure:
        change = new.of(structure.numbers) - old.of(structure.numbers)
        if "energy" not in structure.labels:
            return structure
        labels = structure.labels.replaced({"energy": structure.energy + change})
        return replace(structure, labels=labels, free_energy=structure.free_energy + change)

    return replace(
        parts,
        train=[shifted(structure) for structure in parts.train],
        validation=[shifted(structure) for structure in parts.validation],
    )


def labelled_by(
    parts: ReplayParts, potential: Potential, batch_size: int | None = None
) -> ReplayParts:
    """Return the replay set with predictions of a potential in place of all labels.

    Args:
        parts: the structures.
        potential: before the first step, with the reference energies of the new data.
        batch_size: structures evaluated at a time.
    """
    return replace(
        parts,
        train=_labelled(parts.train, potential, batch_size),
        validation=_labelled(parts.validation, potential, batch_size),
    )


def _labelled(
    structures: list[LabelledStructure], potential: Potential, batch_size: int | None
) -> list[LabelledStructure]:
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, structure in enumerate(structures):
        groups.setdefault(_meaningful(structure.atoms, potential), []).append(index)
    of_atoms = frozenset(head.name for head in potential.tensor_heads if head.per == "atom")
    labelled = [structure.without_labels() for structure in structures]
    # Of their own, so that labels do not depend on what else this process has evaluated.
    ladder = CapacityLadder()
    for names, indices in groups.items():
        chosen = [structures[k].atoms for k in indices]
        found = potential.evaluate(chosen, names, batch_size, capacities=ladder)
        for index, prediction in zip(indices, found, strict=True):
            own = {name: prediction[name] for name in names}
            labels = Labels(len(structures[index]), own, of_atoms)
            labelled[index] = labelled[index].with_labels(labels)
    return labelled


def _meaningful(atoms: Atoms, potential: Potential) -> tuple[str, ...]:
    """Return the labels that a structure can have: no stress without a volume, for one."""
    periodic = bool(atoms.pbc.any())
    has_volume = periodic and abs(np.linalg.det(atoms.cell.array)) > 0
    return tuple(
        name
        for name, row in potential.rows.items()
        if (row.section or row.source == "tensors")
        and row.why_not(periodic=periodic, has_volume=has_volume) is None
    )
