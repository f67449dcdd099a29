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

from tensornet_jax.data.labels.labels import CANONICAL, labels_of
from tensornet_jax.data.labels.tensors import drop_tensors, put_tensor
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.potential.potential import Potential
from tensornet_jax.train.data.datasets import Examples
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

    def shifted(atoms: Atoms) -> Atoms:
        atoms = atoms.copy()
        change = new.of(atoms.numbers) - old.of(atoms.numbers)
        if CANONICAL["energy"] in atoms.info:
            atoms.info[CANONICAL["energy"]] = labels_of(atoms).energy + change
        return atoms

    return replace(
        parts,
        train=[shifted(atoms) for atoms in parts.train],
        validation=[shifted(atoms) for atoms in parts.validation],
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


def _labelled(structures: list[Atoms], potential: Potential, batch_size: int | None) -> list[Atoms]:
    labelled: list[Atoms] = [atoms.copy() for atoms in structures]
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, atoms in enumerate(labelled):
        drop_tensors(atoms)
        for key in CANONICAL.values():
            atoms.info.pop(key, None)
            atoms.arrays.pop(key, None)
        atoms.info["label_keys"] = {}
        groups.setdefault(_meaningful(atoms, potential), []).append(index)
    # Of their own, so that labels do not depend on what else this process has evaluated.
    ladder = CapacityLadder()
    for names, indices in groups.items():
        chosen = [labelled[k] for k in indices]
        found = potential.evaluate(chosen, names, batch_size, capacities=ladder)
        for index, prediction in zip(indices, found, strict=True):
            for head in potential.tensor_heads:
                value = prediction[head.name]
                put_tensor(labelled[index], head.name, value, per_atom=head.per == "atom")
            for name in names:
                if name not in CANONICAL:
                    continue
                owner = labelled[index].arrays if name == "forces" else labelled[index].info
                owner[CANONICAL[name]] = prediction[name]
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
