"""The neighbor lists of a simulation: how long they hold, and making new ones on the host."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, rung, to_device
from tensornet_jax.graph.long_range import STRETCH, LongRange
from tensornet_jax.graph.neighbors import all_pairs, neighbor_pairs
from tensornet_jax.graph.structure import Structure
from tensornet_jax.md.state import System

# Pairs and slots a list may gain before the arrays have to grow and the model to compile.
HEADROOM = 1.2
# A molecule gets every pair of its atoms, a list that never ends, if that costs at most this
# factor more pairs.
COMPLETE = 1.5
# Å an atom may be carried along with its structure before it is moved back to the origin, where
# float32 resolves more.
FARTHEST_DRIFT = 20.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighbors:
    """A list on the device, and what is needed to tell whether it still holds.

    graph: the padded graph; its positions and cell mean nothing.
    positions: (N, 3) Å the list was made for.
    cell: (B, 3, 3) Å it was made for.
    inverse: (B, 3, 3) pseudo-inverse of the periodic lattice vectors, 0 along open directions.
    reach: (B,) Å the list extends beyond the cutoff; infinite if it holds all pairs.
    made: () int32 how often the device has made a list since the host last did.
    """

    graph: AtomGraph
    positions: Any
    cell: Any
    inverse: Any
    reach: Any
    made: Any

    def at(self, positions: Array, cell: Array) -> AtomGraph:
        """Return the graph of atoms that have moved."""
        return self.graph.replace(positions=positions, cell=cell)

    def used_up(
        self, system: System, positions: Array, cell: Array, cutoff: float, changes_cell: bool
    ) -> Array:
        """Tell by how much the list of each structure holds: it does while the number is ≥ 0.

        With F the deformation of the lattice and u what atoms moved besides, a vector v became
        vF + u_j − u_i. One not in the list was at least cutoff + reach long, and is now at least
        σ_min(F)(cutoff + reach) − 2 max|u| long. u leaves out what all atoms moved together;
        σ_min(F) ≥ 1 − ‖F − 1‖. Waves of an Ewald sum are enough up to a certain stretch.

        Args:
            system: the structures.
            positions: (N, 3) Å.
            cell: (B, 3, 3) Å.
            cutoff: Å.
            changes_cell: False promises that the cell is that of the list.

        Returns:
            (B,) Å left; NaN where a position is not a number.
        """
        shrinkage, before = jnp.ones_like(self.reach), self.positions
        if changes_cell:
            strain = self.inverse @ (cell - self.cell)
            stretch = jnp.sqrt(jnp.sum(strain**2, axis=(-2, -1)))
            shrinkage = 1 - stretch
            before = before + jnp.einsum("na,nab->nb", before, strain[system.node_graph])
        moved = positions - before
        count = jnp.maximum(system.per_graph(system.node_mask.astype(moved.dtype)), 1)
        together = system.per_graph(moved) / count[:, None]
        moved = moved - together[system.node_graph]
        farthest = jnp.sqrt(system.largest(jnp.sum(moved**2, axis=-1)))
        left = shrinkage * (cutoff + self.reach) - 2 * farthest - cutoff
        if changes_cell and self.graph.waves is not None:
            left = jnp.where(stretch > STRETCH - 1, -1.0, left)
        # A structure carried away as a whole keeps its list, but loses digits.
        carried = jnp.sqrt(jnp.sum(together**2, axis=-1))
        return jnp.where(carried > FARTHEST_DRIFT, -1.0, left)


class ListBuilder:
    """Makes the lists of a batch of structures on the host, and remembers what it made.

    A structure whose list still holds keeps it when another's has to be made again.

    num_rebuilds: how often lists were made.
    num_grown: how often they had outgrown their arrays.
    """

    on_device = False

    def __init__(
        self,
        structures: Sequence[Structure],
        cutoff: float,
        skin: float,
        dtype: str,
        long_range: LongRange | None = None,
    ) -> None:
        """Take over species, pbc, charge and spin of the structures.

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
        self.padded_atoms = rung(self.num_atoms + 1)

    def build(
        self, positions: np.ndarray, cell: np.ndarray, which: np.ndarray | None = None
    ) -> Neighbors:
        """Make new lists and return them with the old ones that were kept.

        Args:
            positions: (n, 3) Å, without padding.
            cell: (B, 3, 3) Å.
            which: (B,) bool, structures that need a new list; all by default.

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
            grown = Capacity.holding(needed, headroom=HEADROOM)
            # Never below what was there: one size growing must not shrink another.
            before = self.capacity or grown
            self.capacity = Capacity(*map(max, before, grown))
        return self._packed(self.capacity)

    def _rebuild(self, index: int, positions: np.ndarray, cell: np.ndarray) -> None:
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
            inverse[index][:, structure.pbc] = np.linalg.pinv(structure.cell[structure.pbc])
            reach[index] = self._reach[index]
        made = np.int32(0)
        return to_device(Neighbors(graph, positions, graph.cell, inverse, reach, made))

    def saved_capacity(self) -> list[int]:
        """Return the sizes of the arrays as JSON."""
        assert self.capacity is not None
        return list(self.capacity)

    def restore_capacity(self, saved: list[int]) -> None:
        """Take over the sizes another builder of the same structures had."""
        self.capacity = Capacity(*saved)
