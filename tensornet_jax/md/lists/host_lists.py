"""Neighbor lists that the host makes, of a batch of structures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from pydantic import TypeAdapter

from tensornet_jax.graph.atom_graph import FINE, Capacity, batch_structures, rung, to_device
from tensornet_jax.graph.long_range import LongRange
from tensornet_jax.graph.neighbors import all_pairs, neighbor_pairs
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.verlet_list import VerletSkin, periodic_inverse
from tensornet_jax.md.lists.neighbor_lists import HEADROOM
from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.state import System

# A molecule gets every pair of its atoms, a list that never ends, if that costs at most this
# factor more pairs.
COMPLETE = 1.5


@dataclass(frozen=True)
class KeptLists:
    """Lists that stay as they are within the loop, until they no longer hold."""

    makes_lists = False

    def update(
        self,
        neighbors: Neighbors,
        system: System,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "structures 3 3"],
        cutoff: float,
        changes_cell: bool,
    ) -> tuple[Neighbors, Float[Array, " structures"]]:
        """Return the same lists and what they have left, as `ListUpdate` has it."""
        return neighbors, neighbors.left(system, positions, cell, cutoff, changes_cell)


class HostLists:
    """Makes the lists of a batch of structures on the host, and remembers what it made.

    It is a `NeighborLists`. A structure whose list still holds keeps it when another's has to be
    made again.
    """

    on_device = False
    loop = KeptLists()

    def __init__(
        self,
        structures: Sequence[Structure],
        cutoff: float,
        skin: float,
        dtype: str,
        long_range: LongRange | None = None,
    ) -> None:
        """Take over the structures.

        Args:
            structures: in the order of the graph.
            cutoff: Å.
            skin: Å the lists reach beyond it.
            dtype: of the arrays on the device.
            long_range: what there is beyond the cutoff; None for nothing.
        """
        self.cutoff = cutoff
        self.long_range = long_range
        self.skin = skin
        self.dtype = dtype
        self.num_rebuilds = 0
        self.num_grown = 0
        self.capacity: Capacity | None = None
        self._structures = list(structures)
        self._reach = [skin] * len(self._structures)
        ends = np.cumsum([len(s) for s in self._structures])
        self.atoms = [slice(end - len(s), end) for s, end in zip(structures, ends, strict=True)]

        self.num_atoms = sum(len(s) for s in structures)
        self.padded_atoms = rung(self.num_atoms + 1, FINE)

    def renewed(
        self,
        neighbors: Neighbors,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "structures 3 3"],
        changes_cell: bool,
    ) -> Neighbors | None:
        """Leave it to the host, as `NeighborLists` has it."""
        return None

    def build(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "structures 3 3"],
        which: Bool[np.ndarray, " structures"] | None = None,
    ) -> Neighbors:
        """Make new lists and return them with the old ones that were kept.

        Args:
            positions: Å, without padding.
            cell: Å.
            which: structures that need a new list; all by default.

        Raises:
            ValueError: two atoms coincide, or a cell has collapsed; the structure is named.
        """
        for index, here in enumerate(self.atoms):
            if which is None or which[index]:
                self._rebuild(index, positions[here], cell[index])
        self.num_rebuilds += 1
        needed = self._structures
        if self.capacity is None or not self.capacity.holds(needed):
            self.num_grown += self.capacity is not None
            grown = Capacity.holding(needed, HEADROOM, FINE)
            # Never below what was there: one size growing must not shrink another.
            before = self.capacity or grown
            self.capacity = Capacity(*map(max, before, grown))
        return self._packed(self.capacity)

    def _rebuild(
        self, index: int, positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"]
    ) -> None:
        old = self._structures[index]
        # Rounded as on the device: a list made again after a restart is the same list.
        positions = np.asarray(positions, self.dtype).astype(np.float64)
        cell = np.asarray(cell, self.dtype).astype(np.float64)
        try:
            pairs = neighbor_pairs(positions, cell, old.pbc, self.cutoff + self.skin)
            far = None
            if self.long_range is not None:
                place = positions, cell, old.pbc
                far = self.long_range.field(pairs, *place, self.cutoff, self.skin)
        except ValueError as error:
            raise ValueError(f"structure {index}: {error}") from error
        everyone = len(old) * (len(old) - 1) // 2
        complete = not old.pbc.any() and everyone <= COMPLETE * len(pairs)
        if complete:
            pairs = all_pairs(len(old))
            far = None if far is None else far._replace(pairs=pairs)
        self._reach[index] = np.inf if complete else self.skin
        self._structures[index] = replace(old, positions=positions, cell=cell, pairs=pairs, far=far)

    def _packed(self, capacity: Capacity) -> Neighbors:
        graph = batch_structures(self._structures, capacity, self.dtype)
        positions = np.zeros((capacity.atoms, 3), self.dtype)
        inverse = np.zeros((capacity.graphs, 3, 3), self.dtype)
        reach = np.full(capacity.graphs, np.inf, self.dtype)
        for index, structure in enumerate(self._structures):
            positions[self.atoms[index]] = structure.positions
            inverse[index] = periodic_inverse(structure.cell, structure.pbc)
            reach[index] = self._reach[index]
        skin = VerletSkin(positions, graph.cell, inverse, reach)
        return Neighbors(to_device(graph), skin.to_device(), jnp.int32(0))

    def saved_capacity(self) -> list[object]:
        """Return the sizes of the arrays as JSON."""
        assert self.capacity is not None
        return list(self.capacity)

    def restore_capacity(self, saved: Sequence[object]) -> None:
        """Take over the sizes that other lists of the same structures had."""
        # Other versions pad atoms differently.
        self.capacity = _CAPACITY.validate_python(saved)._replace(atoms=self.padded_atoms)


_CAPACITY = TypeAdapter(Capacity)
