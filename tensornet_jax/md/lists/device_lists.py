"""The neighbor list of one large structure, made again on the device without leaving the loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int
from pydantic import TypeAdapter

from tensornet_jax.graph.atom_graph import FINE, Capacity, batch_structures, rung, to_device
from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_grid import CellListCapacity, Periodic, inverse_of
from tensornet_jax.graph.cell_list import device_pairs
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.graph.neighbors import Pairs
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.verlet_list import VerletSkin, periodic_inverse
from tensornet_jax.md.blocks import in_blocks
from tensornet_jax.md.lists.neighbor_lists import HEADROOM
from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.state import System

# Cells an atom may have wandered from home before the host takes it back: float32 loses digits.
FARTHEST_HOME = 2.0
# Capacities tried, each with more room, before a structure is said not to fit.
TRIALS = 4


@dataclass(frozen=True)
class DeviceSearch:
    """What is fixed when the search for neighbors is compiled.

    pbc: which directions are periodic.
    reach: Å, cutoff and skin.
    capacity: sizes of the arrays.
    """

    pbc: Periodic
    reach: float
    capacity: CellListCapacity

    makes_lists = True

    def update(
        self,
        neighbors: Neighbors,
        system: System,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "1 3 3"],
        cutoff: float,
        changes_cell: bool,
    ) -> tuple[Neighbors, Float[Array, "1"]]:
        """Return the list, or a new one where it no longer holds, as `ListUpdate` has it."""
        left = neighbors.left(system, positions, cell, cutoff, changes_cell)
        return lax.cond(
            jnp.all(left >= 0),
            lambda old, *_: (old, left),
            partial(self.renewed, changes_cell=changes_cell),
            *(neighbors, positions, cell),
        )

    def renewed(
        self,
        old: Neighbors,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "1 3 3"],
        *,
        changes_cell: bool,
    ) -> tuple[Neighbors, Float[Array, "1"]]:
        """Return a new list, and Å it has left: less than 0 where the host has to make it.

        Args:
            old: the list before.
            positions: Å.
            cell: Å.
            changes_cell: False promises that the cell is that of the list.
        """
        inverse = _inverse(cell) if changes_cell else old.skin.inverse
        skin = VerletSkin(positions, cell, inverse, old.skin.reach)
        new, overflow = self.made(Neighbors(old.graph, skin, old.made + 1))
        fractions = jnp.einsum("na,ab->nb", positions, inverse[0])
        strayed = jnp.any(jnp.abs(fractions) > FARTHEST_HOME)
        return new, jnp.where(overflow | strayed, -1, old.skin.reach)

    def made(self, neighbors: Neighbors) -> tuple[Neighbors, Bool[Array, ""]]:
        """Return the list of the positions and cell in `neighbors`, and whether it did not fit."""
        graph = neighbors.graph
        found = device_pairs(
            neighbors.positions,
            graph.node_mask,
            neighbors.cell[0],
            self.pbc,
            self.reach,
            self.capacity,
        )
        edges = EdgeList(
            receivers=found.receivers,
            senders=found.senders,
            shifts=found.shifts,
            mask=found.edge_mask,
            slots=found.slots,
        )
        return replace(neighbors, graph=graph.replace(edges=edges)), found.overflow


@partial(jax.jit, static_argnames="search")
def _made(search: DeviceSearch, neighbors: Neighbors) -> tuple[Neighbors, Bool[Array, ""]]:
    return search.made(neighbors)


def _inverse(cell: Float[Array, "1 3 3"]) -> Float[Array, "1 3 3"]:
    # A GPU would call a solver of linear equations.
    return inverse_of(cell[0], jnp)[None] if in_blocks() else jnp.linalg.inv(cell)


class _New(NamedTuple):
    """What of `Neighbors` a new list changes: all else would be copied."""

    edges: EdgeList
    inverse: Float[Array, "1 3 3"]
    made: Int[Array, ""]
    holds: Bool[Array, ""]


@partial(jax.jit, static_argnames=("search", "changes_cell"))
def _renewed(
    search: DeviceSearch,
    old: Neighbors,
    positions: Float[Array, "atoms 3"],
    cell: Float[Array, "1 3 3"],
    changes_cell: bool,
) -> _New:
    new, left = search.renewed(old, positions, cell, changes_cell=changes_cell)
    return _New(new.graph.edges, new.skin.inverse, new.made, jnp.all(left >= 0))


class DeviceLists:
    """Makes the list of one structure, inside the loop or from the host.

    It is a `NeighborLists`. The loop is left only where a list outgrows its arrays, or an atom has
    wandered far off.
    """

    on_device = True

    def __init__(self, structure: Structure, cutoff: float, skin: float, dtype: str) -> None:
        """Take over everything of the structure but its pairs.

        Args:
            structure: the only one of the batch.
            cutoff: Å.
            skin: Å the list reaches beyond it.
            dtype: of the arrays on the device.
        """
        self.cutoff = cutoff
        self.skin = skin
        self.dtype = dtype
        self.num_rebuilds = 0
        self.num_grown = 0
        self.capacity: CellListCapacity | None = None
        self.atoms = [slice(0, len(structure))]
        self.num_atoms = len(structure)
        self.padded_atoms = rung(len(structure) + 1, FINE)
        a, b, c = (bool(each) for each in structure.pbc)
        self._pbc = (a, b, c)
        none = np.zeros(0, np.int32)
        # Replaced, not made anew: whatever a structure has for its atoms stays with it.
        self._structure = replace(structure, pairs=Pairs(none, none, np.zeros((0, 3), np.int32)))

    @property
    def loop(self) -> DeviceSearch:
        """How a list is made within the loop."""
        assert self.capacity is not None
        return DeviceSearch(self._pbc, self.cutoff + self.skin, self.capacity)

    def renewed(
        self,
        neighbors: Neighbors,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "1 3 3"],
        changes_cell: bool,
    ) -> Neighbors | None:
        """Make a list anew between two blocks of steps, as `NeighborLists` has it."""
        new = _renewed(self.loop, neighbors, positions, cell, changes_cell)
        if not bool(new.holds):
            return None
        # Copies: the loop uses the memory of its state again.
        place = jnp.array(positions, copy=True), jnp.array(cell, copy=True)
        graph = neighbors.graph.replace(edges=new.edges)
        return Neighbors(graph, VerletSkin(*place, new.inverse, neighbors.reach), new.made)

    def build(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "1 3 3"],
        which: Bool[np.ndarray, "1"] | None = None,
    ) -> Neighbors:
        """Make a list from the host, with arrays that fit; `which` is of no account.

        Args:
            positions: Å, without padding.
            cell: Å.
            which: as `NeighborLists.build` has it.

        Raises:
            ValueError: two atoms coincide, or the cell has collapsed.
        """
        self.num_rebuilds += 1
        (lattice,) = np.asarray(cell, np.float64)
        positions, pbc = np.asarray(positions, self.dtype), self._structure.pbc
        neighbors = self._without_edges(positions, lattice)
        headroom, reach = HEADROOM, self.cutoff + self.skin
        for _ in range(TRIALS):
            if self.capacity is not None:
                made, overflow = _made(self.loop, neighbors)
                if not bool(overflow):
                    return made
            found = cell_list_capacity(positions, lattice, pbc, reach, headroom)
            self.num_grown += self.capacity is not None
            before = self.capacity or found
            self.capacity = found._replace(
                pairs=max(before.pairs, found.pairs), slots=max(before.slots, found.slots)
            )
            headroom *= HEADROOM
        raise ValueError(f"the neighbor list does not fit {self.capacity}")

    def _without_edges(
        self, positions: Float[np.ndarray, "atoms 3"], lattice: Float[np.ndarray, "3 3"]
    ) -> Neighbors:
        padded = np.zeros((self.padded_atoms, 3), self.dtype)
        padded[: self.num_atoms] = positions
        inverse = periodic_inverse(lattice, self._structure.pbc)
        skin = VerletSkin(
            positions=padded,
            cell=lattice[None].astype(self.dtype),
            inverse=inverse[None].astype(self.dtype),
            reach=np.full(1, self.skin, self.dtype),
        )
        graph = batch_structures(
            [self._structure], Capacity(1, self.padded_atoms, 4, 4), self.dtype
        )
        return Neighbors(to_device(graph), skin.to_device(), jnp.int32(0))

    def saved_capacity(self) -> list[object]:
        """Return the sizes of the arrays as JSON."""
        assert self.capacity is not None
        return list(self.capacity)

    def restore_capacity(self, saved: Sequence[object]) -> None:
        """Take over the sizes that other lists of the same structure had."""
        self.capacity = _CAPACITY.validate_python(saved)


_CAPACITY = TypeAdapter(CellListCapacity)
