"""A part of a structure: the atoms that a process owns, and those on which their energies depend.

Engines that divide space over processes give each its own atoms and copies of others, ghosts, at
the places of periodic images. Images of one atom have the same features, so where the lattice is
known one of them stands for all, and pairs say by which lattice vectors they go: a process that
owns everything evaluates no ghosts at all. Without a lattice a part repeats in no direction, and
every image is an atom of its own.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Int, Int32

from tensornet_jax.graph.long_range import FarField
from tensornet_jax.graph.neighbors import Pairs, neighbor_pairs
from tensornet_jax.graph.structure import Structure


@dataclass(frozen=True)
class Reach:
    """How far the energy of an atom looks.

    cutoff: of the network, Å.
    num_hops: cutoffs that messages go.
    far: Å, reach of pairs beyond the cutoff; None where there are none.
    """

    cutoff: float
    num_hops: int
    far: float | None = None

    @property
    def distance(self) -> float:
        """Å, beyond which atoms have no influence on the energy of one."""
        return max(self.num_hops * self.cutoff, self.far or 0.0)


class Lattice(NamedTuple):
    """How the structure repeats.

    cell: rows are lattice vectors, Å.
    pbc: which directions repeat.
    """

    cell: Float[np.ndarray, "3 3"]
    pbc: Bool[np.ndarray, "3"]


NO_LATTICE = Lattice(np.zeros((3, 3)), np.zeros(3, bool))
"""That of a structure that repeats in no direction."""


@dataclass(frozen=True)
class Part:
    """What has to be evaluated for the energies of the owned atoms.

    structure: the chosen atoms, the owned first.
    chosen: of each, the index among the atoms that were given.
    num_owned: how many are owned.
    """

    structure: Structure
    chosen: Int[np.ndarray, " chosen"]
    num_owned: int

    @classmethod
    def around(
        cls,
        positions: Float[np.ndarray, "atoms 3"],
        species: Int32[np.ndarray, " atoms"],
        num_owned: int,
        reach: Reach,
        *,
        lattice: Lattice = NO_LATTICE,
        charge: float = 0.0,
        skin: float = 0.0,
    ) -> Self:
        """Choose atoms and pairs.

        Args:
            positions: of owned atoms and then ghosts, Å.
            species: index into the element table.
            num_owned: how many atoms are owned.
            reach: of the energy of an atom.
            lattice: in which the atoms repeat, each of which is then given once. Without one,
                images are given as atoms.
            charge: total charge of the whole structure, e.
            skin: Å that the lists reach beyond.

        Raises:
            ValueError: two atoms coincide, or positions are not finite.
        """
        cell, pbc = lattice
        near = neighbor_pairs(positions, cell, pbc, reach.cutoff + skin)
        hops = _hops(near, len(positions), num_owned, reach.num_hops)
        near = _only(near, np.minimum(hops[near.first], hops[near.second]) < reach.num_hops)
        is_chosen, far = hops <= reach.num_hops, None
        if reach.far is not None:
            far = neighbor_pairs(positions, cell, pbc, reach.far + skin)
            far = _only(far, np.minimum(far.first, far.second) < num_owned)
            is_chosen[far.first] = is_chosen[far.second] = True
        places = np.cumsum(is_chosen, dtype=np.int32) - 1
        chosen = np.flatnonzero(is_chosen)
        structure = Structure(
            positions=positions[chosen],
            species=species[chosen],
            cell=cell,
            pbc=pbc,
            charge=charge,
            pairs=_renumbered(near, places),
            far=None if far is None else FarField(_renumbered(far, places)),
        )
        return cls(structure, chosen, num_owned)


def _hops(pairs: Pairs, num_atoms: int, num_owned: int, most: int) -> Int[np.ndarray, " atoms"]:
    """Fewest pairs that lead from an owned atom to each; most + 1 where more are needed."""
    hops = np.full(num_atoms, most + 1)
    hops[:num_owned] = 0
    for hop in range(1, most + 1):
        for here, there in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
            reached = there[hops[here] == hop - 1]
            hops[reached] = np.minimum(hops[reached], hop)
    return hops


def _only(pairs: Pairs, wanted: np.ndarray) -> Pairs:
    return Pairs(pairs.first[wanted], pairs.second[wanted], pairs.shifts[wanted])


def _renumbered(pairs: Pairs, places: Int32[np.ndarray, " atoms"]) -> Pairs:
    return Pairs(places[pairs.first], places[pairs.second], pairs.shifts)
