"""The energies of a process's atoms as a function of the arrays that `pair_style jax/kk` has.

The pair style knows positions, types and edges; what the network wants besides, which edges arrive
at each atom, is found in the program. Whatever does not fit makes all energies and forces NaN, on
which LAMMPS stops: nothing is left out silently.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Int32, PyTree

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.interop.lammps_jax.sizes import Shell, Sizes
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import outputs_in_eV


class Neighbors(Protocol):
    """What `lammps_jax` gives of the list: edges in any order; padding has the mask False."""

    senders: Int32[Array, " edges"]
    receivers: Int32[Array, " edges"]
    edge_mask: Bool[Array, " edges"]


class Exchange(Protocol):
    """What `lammps_jax` gives to send features of atoms to the ghosts of other processes."""

    def forward_comm(self, features: PyTree) -> PyTree:
        """Return features in which ghosts have those of the atoms they are copies of."""
        ...


@dataclass(frozen=True)
class Program:
    """A potential and what a bundle fixes.

    potential: whose energies of atoms depend on what lies around them.
    species: index into the element table of each atom type.
    shell: which atoms and pairs there are.
    sizes: of the arrays.
    charge: total charge of the box, e.
    unit: of energies, eV.
    references: eV, added to the energy of each atom of an element.
    """

    potential: Potential
    species: Int32[np.ndarray, " types"]
    shell: Shell
    sizes: Sizes
    charge: float
    unit: float
    references: Float[np.ndarray, " species"]

    def energies(
        self,
        positions: Float[Array, "atoms 3"],
        types: Int32[Array, " atoms"],
        neighbors: Neighbors,
        exchange: Exchange | None = None,
    ) -> Float[Array, " atoms"]:
        """Energies of the atoms, of which those of owned ones are right.

        Args:
            positions: of owned atoms and then ghosts, Å; padding comes last.
            types: numbered from 0.
            neighbors: the list.
            exchange: in that form.

        Returns:
            in the unit of the bundle.
        """
        potential = self.potential
        # Weights may be numpy's, which traced indices cannot look into.
        variables = jax.tree.map(jnp.asarray, potential.variables)
        graph, overflow = self._graph(positions, types, neighbors)
        if exchange is not None:
            graph = graph.replace(from_owners=_for_rows(len(positions), exchange))
        outputs = outputs_in_eV(potential.module, variables, graph, potential.energy_scale)
        energies = (
            outputs["energies"] + jnp.asarray(self.references, positions.dtype)[graph.species]
        )
        # A factor, so that forces are NaN too.
        whole = jnp.where(overflow, jnp.nan, 1.0 / self.unit).astype(positions.dtype)
        return (energies * whole)[: len(positions)]

    def energies_with_exchange(
        self,
        positions: Float[Array, "atoms 3"],
        types: Int32[Array, " atoms"],
        neighbors: Neighbors,
        exchange: Exchange,
    ) -> Float[Array, " atoms"]:
        """Energies of the atoms; arguments as of `energies`, all of them needed."""
        return self.energies(positions, types, neighbors, exchange)

    def _graph(
        self,
        positions: Float[Array, "atoms 3"],
        types: Int32[Array, " atoms"],
        neighbors: Neighbors,
    ) -> tuple[AtomGraph, Bool[Array, ""]]:
        """The graph, with one atom more that is padding, and whether something did not fit."""
        sizes, dtype, padding = self.sizes, positions.dtype, len(positions)
        count = padding + 1
        places = jnp.concatenate([positions, jnp.zeros((1, 3), dtype)])
        mask = neighbors.edge_mask
        first = jnp.where(mask, neighbors.senders, padding)
        second = jnp.where(mask, neighbors.receivers, padding)
        if self.shell.form == "exchange":
            # Of the two edges of owned atoms one.
            wanted = mask & (first < second)
            first, second, overflow = chosen_pairs(first, second, wanted, count, sizes.pairs)
        else:
            first = jnp.append(first, jnp.int32(padding))
            second = jnp.append(second, jnp.int32(padding))
            overflow = jnp.zeros((), bool)
        edges, too_many = edge_list(first, second, count, sizes.slots)
        overflow, long_edges = overflow | too_many, None
        if self.shell.near is not None:
            long_edges, apart = edges, jax.lax.stop_gradient(places[first] - places[second])
            close = (first < padding) & (jnp.sum(apart**2, axis=1) < self.shell.near**2)
            *near, dropped = chosen_pairs(first, second, close, count, sizes.near_pairs)
            edges, too_many = edge_list(near[0], near[1], count, sizes.near_slots)
            overflow = overflow | dropped | too_many
        species = jnp.asarray(self.species)[jnp.clip(types, 0, len(self.species) - 1)]
        one = jnp.ones(1, dtype)
        graph = AtomGraph(
            positions=places,
            species=jnp.append(species, species[:1]),
            node_graph=jnp.zeros(count, jnp.int32),
            node_mask=jnp.arange(count) < padding,
            edges=edges,
            cell=jnp.zeros((1, 3, 3), dtype),
            pbc=jnp.zeros((1, 3), bool),
            charge=self.charge * one,
            spin=0 * one,
            graph_mask=jnp.ones(1, bool),
            long_edges=long_edges,
        )
        return graph, overflow


def _for_rows(count: int, exchange: Exchange) -> Callable[[PyTree], PyTree]:
    """Exchange of the first rows alone: what stands behind the atoms of LAMMPS is ours."""

    def exchanged(features: PyTree) -> PyTree:
        sent = exchange.forward_comm(jax.tree.map(lambda leaf: leaf[:count], features))
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b[count:]]), sent, features)

    return exchanged


def chosen_pairs(
    first: Int[Array, " edges"],
    second: Int[Array, " edges"],
    wanted: Bool[Array, " edges"],
    num_atoms: int,
    size: int,
) -> tuple[Int[Array, " pairs"], Int[Array, " pairs"], Bool[Array, ""]]:
    """The wanted pairs and one of padding at the end, and whether there are too many."""
    (kept,) = jnp.nonzero(wanted, size=size, fill_value=len(first))

    def of(ends: Array) -> Array:
        padding = num_atoms - 1
        found = ends.at[kept].get(mode="fill", fill_value=padding)
        return jnp.append(found, padding).astype(jnp.int32)

    return of(first), of(second), jnp.sum(wanted) > size


def edge_list(
    first: Int[Array, " pairs"], second: Int[Array, " pairs"], num_atoms: int, num_slots: int
) -> tuple[EdgeList, Bool[Array, ""]]:
    """The pairs as edges with slots, and whether more arrive at an atom than it has slots."""
    receivers, padding = jnp.concatenate([first, second]), num_atoms - 1
    count = len(receivers)
    # Sorted by atom, the place among an atom's own tells the slot.
    order = jnp.argsort(receivers, stable=True).astype(jnp.int32)
    owners = receivers[order]
    starts = jnp.searchsorted(owners, jnp.arange(num_atoms))
    slot = jnp.arange(count) - starts[owners]
    is_real = owners < padding
    # What has no place is dropped.
    slot = jnp.where(is_real, slot, num_slots)
    slots = jnp.full((num_atoms, num_slots), count - 1, jnp.int32)
    slots = slots.at[owners, slot].set(order, mode="drop")
    edges = EdgeList(
        receivers=receivers,
        senders=jnp.concatenate([second, first]),
        shifts=jnp.zeros((count, 3), jnp.int32),
        mask=receivers < padding,
        slots=slots,
    )
    return edges, jnp.any(is_real & (slot >= num_slots))
