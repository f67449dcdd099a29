"""The neighbor list of a simulation as it lies on the device."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.verlet_list import VerletSkin, bounded_stretch
from tensornet_jax.md.blocks import in_blocks
from tensornet_jax.md.matrices import product, times_of_structures
from tensornet_jax.md.state import System

FARTHEST_DRIFT = 20.0
"""Å an atom may be carried along with its structure before it is moved back to the origin, where
float32 resolves more."""


class _Members(NamedTuple):
    """The atoms of a simulation, as `graph.verlet_list` asks for them."""

    system: System

    def mean(self, values: Float[Array, "atoms 3"]) -> Float[Array, "structures 3"]:
        system = self.system
        count = jnp.maximum(system.num_atoms(values.dtype), 1)
        return system.per_graph(values) / count[:, None]

    def largest(self, values: Float[Array, " atoms"]) -> Float[Array, " structures"]:
        return self.system.largest(values)

    def of_atoms(self, values: Float[Array, "structures 3"]) -> Float[Array, "atoms 3"]:
        return values[self.system.node_graph]

    def times(
        self, vectors: Float[Array, "atoms 3"], matrices: Float[Array, "structures 3 3"]
    ) -> Float[Array, "atoms 3"]:
        return times_of_structures(vectors, matrices, self.system.node_graph)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighbors:
    """A list on the device, and what is needed to tell whether it still holds.

    graph: the padded graph; its positions and cell mean nothing.
    skin: what the list was made for.
    made: how often the device has made a list since the host last did.
    """

    graph: AtomGraph
    skin: VerletSkin
    made: Int[Array, ""]

    @property
    def positions(self) -> Float[Array, "atoms 3"]:
        """Positions that the list was made for, Å."""
        return self.skin.positions

    @property
    def cell(self) -> Float[Array, "structures 3 3"]:
        """Cells that the list was made for, Å."""
        return self.skin.cell

    @property
    def reach(self) -> Float[Array, " structures"]:
        """Å the list extends beyond the cutoff; infinite if it holds all pairs."""
        return self.skin.reach

    def at(
        self, positions: Float[Array, "atoms 3"], cell: Float[Array, "structures 3 3"]
    ) -> AtomGraph:
        """Return the graph of atoms that have moved, Å."""
        return self.graph.replace(positions=positions, cell=cell)

    def left(
        self,
        system: System,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "structures 3 3"],
        cutoff: float,
        changes_cell: bool,
    ) -> Float[Array, " structures"]:
        """Return Å by which the list of each structure holds: it does while this is ≥ 0.

        It is NaN where a position is not a number; see `graph.verlet_list` for the criterion.

        Args:
            system: the structures.
            positions: Å.
            cell: Å.
            cutoff: Å.
            changes_cell: False promises that the cell is that of the list.
        """
        stretch = bounded_stretch(self._strain(cell)) if changes_cell else None
        k_vectors = self.graph.k_vectors is not None
        left = self.skin.left(_Members(system), positions, cutoff, stretch, k_vectors=k_vectors)
        # A structure carried away as a whole keeps its list, but loses digits.
        carried = jnp.sqrt(jnp.sum(left.drift**2, axis=-1))
        return jnp.where(carried > FARTHEST_DRIFT, -1.0, left.skin)

    def _strain(self, cell: Float[Array, "structures 3 3"]) -> Float[Array, "structures 3 3"]:
        if in_blocks():
            return product(self.skin.inverse, cell - self.skin.cell)
        return self.skin.strain(cell)
