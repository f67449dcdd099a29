"""TensorNet's first tensors: who is around an atom, at what distance and in which direction."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.layers import dense, in_one_product, layer_norm
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.models.tensornet.config import CartesianConfig
from tensornet_jax.models.tensornet.layers import Matrix, Mixing
from tensornet_jax.models.tensornet.radial import AtDistances, RadialValues
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.by_atoms import Deferred, by_atoms, deferred
from tensornet_jax.ops.cartesian import (
    Components,
    RankTwo,
    Tensor,
    parts_of_unit_vectors,
    squared_norm,
)
from tensornet_jax.ops.kernels.choice import for_gpu
from tensornet_jax.ops.linear import by_component
from tensornet_jax.ops.messages.densities import neighbor_densities
from tensornet_jax.ops.messages.message import (
    EdgeIndex,
    at_receivers,
    at_senders,
    collect,
    on_both_edges,
)

SpeciesVectors = tuple[Float[Array, "species channels"], Float[Array, "species channels"]]
"""Vectors of the elements as center and as neighbor."""

MOST_SPECIES = 16
"""Up to so many elements the embedding sums over neighbors element by element, before channels."""


class SpeciesPair(nn.Module):
    """Lin([z_i; z_j]) of the embeddings of two elements: a vector of the one plus one of the other.

    No product per pair of atoms is left of it, only two tables.
    """

    num_species: int
    num_channels: int
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        self.species = nn.Embed(
            self.num_species,
            self.num_channels,
            dtype=self.dtype,
            param_dtype=self.dtype,
            embedding_init=nn.initializers.normal(1.0),
        )
        self.linear = dense(2 * self.num_channels, self.num_channels, self.dtype)

    def tables(self) -> SpeciesVectors:
        """Return the vectors of the center and of the neighbor."""
        table = self.species(jnp.arange(self.num_species))
        blank = jnp.zeros_like(table)
        of_centre = self.linear(jnp.concatenate([table, blank], axis=-1))
        bias = self.linear(jnp.zeros_like(jnp.concatenate([table, blank], axis=-1)[:1]))
        return of_centre, self.linear(jnp.concatenate([blank, table], axis=-1)) - bias


class SpeciesTables(nn.Module):
    """The tables of `SpeciesPair`, kept as they are."""

    num_species: int
    num_channels: int
    dtype: str

    @nn.compact
    def tables(self) -> SpeciesVectors:
        """Return the vectors of the center and of the neighbor."""
        init, shape = nn.initializers.normal(1.0), (self.num_species, self.num_channels)
        of_centre = self.param("of_centre", init, shape, self.dtype)
        return of_centre, self.param("of_neighbour", init, shape, self.dtype)


class Embedding(nn.Module):
    """Initial tensors of the atoms from species, distances and directions (Eqs. 6–10)."""

    config: CartesianConfig
    num_species: int
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        tables = SpeciesTables if c.compression else SpeciesPair
        self.pair_species = tables(self.num_species, width, dtype)
        self.filters = [Matrix(c.basis_size, width, dtype, not c.compression) for _ in range(3)]
        self.norm = layer_norm(dtype)
        self.gate_hidden = dense(width, 2 * width, dtype)
        self.gates = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing = Mixing(width, dtype)
        if c.electronic_state:
            self.state = ElectronicState(c.electronic_state, self.num_species, 2 * width, dtype)

    def __call__(
        self, graph: AtomGraph, directions: Float[Array, "pairs 3"], radial: RadialValues
    ) -> RankTwo | Deferred:
        """Return the tensors of the atoms, (N, 1 | 3 | 5, F).

        Args:
            graph: of which species, edges and, if the model takes it, the electrons' state enter.
            directions: unit vectors of the pairs' first edges.
            radial: functions of the pairs' distances.
        """
        species, edges = graph.species, graph.edges.index
        act = ACTIVATIONS[self.config.activation]
        tables = self.pair_species.tables()
        weights = [layer.matrix() for layer in self.filters]
        basis = self._with_bias(*radial.pairs)
        geometry = parts_of_unit_vectors(directions)
        sums = self._by_species if self.num_species <= MOST_SPECIES else self._by_edges
        tensor = sums(species, edges, geometry, basis, weights, tables)
        own = None
        if radial.origin is not None:
            at_origin = self._with_bias(*radial.origin) @ weights[0]
            own = geometry[0][0] * ((tables[0] + tables[1])[species] * at_origin)[:, None, :]
        tensor, size = by_atoms(_with_itself_and_norm, tensor, own)
        hidden = self.gate_hidden(self.norm(size))
        if self.config.electronic_state:
            hidden = hidden + self.state(graph)[:, None]
        hidden = act(hidden)
        if for_gpu() and not self.is_initializing():
            before = in_one_product(self.gates, hidden).reshape(hidden.shape[0], 3, -1)
            return deferred(partial(_gated, act), self.mixing(tensor), before)
        before = [gate(hidden) for gate in self.gates]
        gates = [act(each) for each in before]
        return deferred(_scaled_by_part, self.mixing(tensor), gates)

    def filters_of(self, values: AtDistances) -> list[Float[Array, "pairs channels"]]:
        """Filters of I, A and S with the cutoff function."""
        basis = self._with_bias(*values)
        return [basis @ layer.matrix() for layer in self.filters]

    def _with_bias(
        self, basis: Float[Array, "pairs radial"], envelope: Float[Array, " pairs"]
    ) -> Float[Array, "pairs _"]:
        """Radial functions times the cutoff function; alone at the end, it is what a bias meets."""
        envelope = envelope[:, None]
        if self.config.compression:
            return basis * envelope
        return jnp.concatenate([basis * envelope, envelope], axis=-1)

    def _by_species(
        self,
        species: Int[Array, " atoms"],
        edges: EdgeIndex,
        geometry: Sequence[Float[Array, "pairs components"]],
        basis: Float[Array, "pairs radial"],
        weights: Sequence[Float[Array, "radial channels"]],
        tables: SpeciesVectors,
    ) -> RankTwo | Deferred:
        of_centre, of_neighbour = tables
        first_edges = jnp.concatenate(geometry, axis=-1)
        signs = (1, *(-1,) * 3, *(1,) * 5)
        densities = neighbor_densities(first_edges, basis, species, self.num_species, edges, signs)
        if for_gpu():
            # One product, a matrix for each component, with the species of the neighbors and
            # without, which then meet that of the center.
            matrices = by_component(weights, (1, 3, 5))[:, None]
            factors = jnp.stack([of_neighbour, jnp.ones_like(of_neighbour)], axis=1)
            matrices = matrices[..., None, :] * factors[:, None]
            flat = densities.reshape(*densities.shape[:2], -1)
            both = jnp.einsum("nca,caf->ncf", flat, matrices.reshape(9, flat.shape[2], -1))
            both = both.reshape(both.shape[0], 18, -1)
            return deferred(_seen_from_center, both, of_centre[species][:, None])
        found = []
        for part, matrix in zip(jnp.split(densities, (1, 4), axis=1), weights, strict=True):
            both = (of_neighbour[:, None] * matrix).reshape(-1, matrix.shape[1])
            every = part.reshape(*part.shape[:2], -1) @ both
            found.append(every + of_centre[species][:, None] * (jnp.sum(part, axis=2) @ matrix))
        return RankTwo(*found)

    def _by_edges(
        self,
        species: Int[Array, " atoms"],
        edges: EdgeIndex,
        geometry: Sequence[Float[Array, "pairs components"]],
        basis: Float[Array, "pairs radial"],
        weights: Sequence[Float[Array, "radial channels"]],
        tables: SpeciesVectors,
    ) -> RankTwo:
        of_centre, of_neighbour = (table[species] for table in tables)
        factor = at_receivers(of_centre, edges) + at_senders(of_neighbour, edges)
        identity, skew, symmetric = geometry
        sides = on_both_edges(identity), on_both_edges(skew, -1), on_both_edges(symmetric)
        filters = [on_both_edges(basis @ matrix) * factor for matrix in weights]
        return RankTwo(*collect(sides, tuple(filters), edges))


def _seen_from_center(both: Sequence[Array], of_center: Array) -> Components:
    """The neighbors' sums, of each component with their species and with that of the center."""
    around, unweighted = Components.of(both[::2]), Components.of(both[1::2])
    return around + unweighted.scaled(of_center)


def _with_itself_and_norm(tensor: Tensor, own: Array | None) -> list[Tensor | Array]:
    """The tensor with what an atom adds to its own, if anything, and its squared norm."""
    if own is not None:
        tensor = tensor.plus_scalar(own)
    return [tensor, squared_norm(tensor)]


def _scaled_by_part(tensor: Tensor, factors: Sequence[Array]) -> Tensor:
    return tensor.scaled_by_part(factors)


def _gated(act: Callable[[Array], Array], tensor: Tensor, before: Sequence[Array]) -> Tensor:
    return tensor.scaled_by_part([act(each) for each in before])
