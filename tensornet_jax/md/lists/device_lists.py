"""Neighbor lists of one large structure, made again on the device without leaving the loop."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, rung, to_device
from tensornet_jax.graph.cell_grid import CellListCapacity
from tensornet_jax.graph.cell_list import cell_list_capacity, device_pairs
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.graph.neighbors import Pairs
from tensornet_jax.graph.structure import Structure
from tensornet_jax.md.lists.host_lists import HEADROOM, Neighbors

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

    pbc: tuple[bool, bool, bool]
    reach: float
    capacity: CellListCapacity

    def made(self, neighbors: Neighbors) -> tuple[Neighbors, Array]:
        """Return the list of the positions and cell in `neighbours`, and whether it did not fit."""
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

    def renewed(
        self, old: Neighbors, positions: Array, cell: Array, *, changes_cell: bool
    ) -> tuple[Neighbors, Array]:
        """Return a list for positions (N, 3) and cell (1, 3, 3), and Å it has left, (1,); traced.

        Less than 0 is left where the host has to see to it.
        """
        inverse = jnp.linalg.inv(cell) if changes_cell else old.inverse
        start = Neighbors(old.graph, positions, cell, inverse, old.reach, old.made + 1)
        new, overflow = self.made(start)
        fractions = jnp.einsum("na,ab->nb", positions, inverse[0])
        strayed = jnp.any(jnp.abs(fractions) > FARTHEST_HOME)
        return new, jnp.where(overflow | strayed, -1, old.reach)


@partial(jax.jit, static_argnames="search")
def _made(search: DeviceSearch, neighbors: Neighbors) -> tuple[Neighbors, Array]:
    return search.made(neighbors)


class DeviceListBuilder:
    """Makes the list of one structure, inside the loop or from the host.

    The loop is left only where a list outgrows its arrays, or an atom has wandered far off.

    num_rebuilds: how often the host made a list.
    num_grown: how often it had outgrown its arrays.
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
        self.padded_atoms = rung(len(structure) + 1)
        a, b, c = (bool(each) for each in structure.pbc)
        self._pbc = (a, b, c)
        none = np.zeros(0, np.int32)
        # Replaced, not made anew: whatever a structure has for its atoms stays with it.
        self._structure = replace(structure, pairs=Pairs(none, none, np.zeros((0, 3), np.int32)))

    def build(
        self, positions: np.ndarray, cell: np.ndarray, which: np.ndarray | None = None
    ) -> Neighbors:
        """Make a list from the host, with arrays that fit; `which` is of no account.

        Args:
            positions: (n, 3) Å, without padding.
            cell: (1, 3, 3) Å.
            which: as `ListBuilder.build` has it.

        Raises:
            ValueError: two atoms coincide, or the cell has collapsed.
        """
        self.num_rebuilds += 1
        structure, (lattice,) = self._structure, np.asarray(cell, np.float64)
        positions = np.asarray(positions, self.dtype)
        padded = np.zeros((self.padded_atoms, 3), self.dtype)
        padded[: self.num_atoms] = positions
        inverse = np.zeros((1, 3, 3), self.dtype)
        inverse[0][:, structure.pbc] = np.linalg.pinv(lattice[structure.pbc])
        shape = Capacity(1, self.padded_atoms, 4, 4)
        neighbors = to_device(
            Neighbors(
                graph=batch_structures([structure], shape, self.dtype),
                positions=padded,
                cell=np.array(cell, self.dtype),
                inverse=inverse,
                reach=np.full(1, self.skin, self.dtype),
                made=np.int32(0),
            )
        )
        headroom, reach = HEADROOM, self.cutoff + self.skin
        for _ in range(TRIALS):
            if self.capacity is not None:
                made, overflow = _made(self.search, neighbors)
                if not bool(overflow):
                    return made
            found = cell_list_capacity(positions, lattice, structure.pbc, reach, headroom)
            self.num_grown += self.capacity is not None
            before = self.capacity or found
            self.capacity = found._replace(
                pairs=max(before.pairs, found.pairs), slots=max(before.slots, found.slots)
            )
            headroom *= HEADROOM
        raise ValueError(f"the neighbor list does not fit {self.capacity}")

    @property
    def search(self) -> "DeviceSearch":
        """How a list is made within the loop."""
        assert self.capacity is not None
        return DeviceSearch(self._pbc, self.cutoff + self.skin, self.capacity)

    def saved_capacity(self) -> list[Any]:
        """Return the sizes of the arrays as JSON."""
        assert self.capacity is not None
        return list(self.capacity)

    def restore_capacity(self, saved: list[Any]) -> None:
        """Take over the sizes another builder of the same structure had."""
        parts: list[Any] = [tuple(part) if isinstance(part, list) else part for part in saved]
        self.capacity = CellListCapacity(*parts)
