"""How large the arrays of a bundle are: so many atoms and pairs of a process, and no more."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import ase
import numpy as np

from tensornet_jax.graph.atom_graph import rung
from tensornet_jax.graph.neighbors import Pairs, neighbor_pairs
from tensornet_jax.graph.part import Reach
from tensornet_jax.interop.lammps_jax.division import Share, shares
from tensornet_jax.ops.messages.message import SLOT_BLOCK

Form = Literal["ghosts", "exchange"]
"""What is done about features of atoms that other processes own: computed again, or sent."""


class Shell(NamedTuple):
    """Which atoms and pairs of others a process knows.

    form: of the bundle.
    cutoff: Å, of the list of pairs.
    hops: how many cutoffs ghosts reach.
    near: Å, the network's cutoff where the list goes beyond it; None where it does not.
    """

    form: Form
    cutoff: float
    hops: int
    near: float | None

    @classmethod
    def of(cls, form: Form, reach: Reach) -> Self:
        """Return what a potential needs."""
        cutoff = reach.cutoff if reach.far is None else reach.far
        near = None if reach.far is None else reach.cutoff
        if form == "exchange":
            return cls(form, cutoff, 1, near)
        # With one hop the pair style gives each pair to one process alone, as if energies were
        # sums over pairs.
        hops = max(2, int(np.ceil(reach.distance / cutoff - 1e-9)))
        return cls(form, cutoff, hops, near)

    @property
    def distance(self) -> float:
        """Å that ghosts reach."""
        return self.hops * self.cutoff


class Sizes(NamedTuple):
    """Sizes of the arrays.

    atoms: owned and ghosts of a process.
    edges: of the list that LAMMPS gives: each pair once in the form of ghosts, else for each
        owned atom its neighbors.
    pairs: each once.
    slots: edges that arrive at an atom.
    near_pairs, near_slots: those within the network's cutoff, where the list goes beyond; or 0.
    """

    atoms: int
    edges: int
    pairs: int
    slots: int
    near_pairs: int = 0
    near_slots: int = 0

    @classmethod
    def holding(
        cls, atoms: ase.Atoms, shell: Shell, processes: int, *, skin: float, headroom: float
    ) -> Self:
        """Return sizes for a structure.

        Args:
            atoms: the structure.
            shell: of the bundle.
            processes: that share it.
            skin: Å that LAMMPS's ghosts reach farther.
            headroom: factor on what the structure needs.

        Raises:
            ValueError: the structure cannot be divided, or two of its atoms coincide.
        """
        if not headroom >= 1:
            raise ValueError(f"headroom {headroom}: the structure itself needs 1")
        parts = list(shares(atoms, processes, shell.distance + skin))
        edges, pairs, slots = _most([_counts(part, shell, shell.cutoff) for part in parts])
        near_pairs, near_slots = 0, 0
        if shell.near is not None:
            near = [_counts(part, shell, shell.near) for part in parts]
            _, near_pairs, near_slots = _most(near)

        def room(size: int) -> int:
            return rung(int(size * headroom) + 1)

        def blocks(size: int) -> int:
            return -(-room(size) // SLOT_BLOCK) * SLOT_BLOCK

        return cls(
            atoms=room(max(len(part.atoms) for part in parts)),
            edges=room(edges),
            pairs=room(pairs),
            slots=blocks(slots),
            near_pairs=room(near_pairs) if shell.near is not None else 0,
            near_slots=blocks(near_slots) if shell.near is not None else 0,
        )


def known_pairs(share: Share, shell: Shell, cutoff: float) -> Pairs:
    """Return the pairs that the arrays of a process hold, each once.

    Args:
        share: what the process knows.
        shell: of the bundle.
        cutoff: Å.
    """
    pairs = neighbor_pairs(share.positions, np.zeros((3, 3)), False, cutoff)
    if shell.form == "ghosts":
        return pairs
    # The first of a pair has the lower index, and the owned have the lowest.
    own = pairs.first < share.num_owned
    return Pairs(pairs.first[own], pairs.second[own], pairs.shifts[own])


def _counts(share: Share, shell: Shell, cutoff: float) -> tuple[int, int, int]:
    """Edges, pairs, and most edges that arrive at an atom."""
    pairs = known_pairs(share, shell, cutoff)
    degrees = np.bincount(np.concatenate([pairs.first, pairs.second]))
    both = int(np.count_nonzero(pairs.second < share.num_owned))
    edges = len(pairs) + (both if shell.form == "exchange" else 0)
    return edges, len(pairs), int(degrees.max(initial=0))


def _most(counts: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    edges, pairs, slots = map(max, zip(*counts, strict=True))
    return edges, pairs, slots
