"""TensorNet (arXiv:2306.06482), with the numbers of torchmd-net 3.1.0 (arXiv:2402.17660).

Where paper and code differ, the code is followed: the cutoff function enters twice (once in the
radial functions, once in the filters; `cutoff_once` gives the paper's form), and every atom has an
edge to itself with distance 0, which adds the filter at zero distance.
"""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.common import ModelConfig, dense, layer_norm, torch_uniform
from tensornet_jax.models.heads import ScalarReadout, centred_dipole
from tensornet_jax.models.radial_table import RadialTable
from tensornet_jax.ops import radial
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.cartesian import (
    RankTwo,
    anticommutator,
    matmul,
    parts_of_unit_vectors,
    squared_norm,
    squared_norms,
)
from tensornet_jax.ops.densities import neighbour_densities
from tensornet_jax.ops.message import (
    EdgeIndex,
    at_receivers,
    at_senders,
    collect,
    convolve,
    on_both_edges,
)
from tensornet_jax.ops.safe import divide, norm

MOST_SPECIES = 16
"""Up to so many elements the embedding sums over neighbours element by element, before channels."""


class TensorNetConfig(ModelConfig):
    """Hyperparameters of TensorNet."""

    name: Literal["tensornet"] = "tensornet"
    num_channels: int = Field(default=128, ge=2, description="channels F of every tensor")
    num_layers: int = Field(default=2, ge=0, description="interaction layers")
    num_radial: int = Field(default=32, ge=2, description="radial basis functions R")
    radial: Literal["expnorm", "gaussian"] = Field(default="expnorm", description="radial basis")
    trainable_radial: bool = Field(default=False, description="train the radial basis too")
    activation: Literal["silu", "ssp", "tanh", "sigmoid", "mish"] = Field(
        default="silu", description="activation function"
    )
    cutoff_lower: float = Field(default=0.0, ge=0, description="lower cutoff radius, Å")
    cutoff_once: bool = Field(
        default=False,
        description="apply the cutoff function once, as the paper does, not twice as torchmd-net",
    )
    envelope: Literal["cosine", "polynomial"] = Field(
        default="cosine",
        description="cutoff function; polynomial has a continuous Hessian, for phonons say",
    )
    group: Literal["O(3)", "SO(3)"] = Field(
        default="O(3)", description="symmetry: O(3) tells no enantiomer from its mirror image"
    )
    so3_convention: Literal["python", "warp"] = Field(
        default="python",
        description="SO(3) only: sign of edge vectors; torchmd-net's Warp kernels mirror space",
    )

    @property
    def basis_size(self) -> int:
        """How many radial functions there are before any layer."""
        return self.compression.rank if self.compression else self.num_radial

    @model_validator(mode="after")
    def _consistent(self) -> "TensorNetConfig":
        if self.cutoff_lower >= self.cutoff:
            raise ValueError(
                f"cutoff_lower ({self.cutoff_lower} Å) must be below cutoff ({self.cutoff} Å)"
            )
        if self.cutoff_lower > 0 and self.envelope != "cosine":
            raise ValueError("cutoff_lower needs envelope: cosine, the polynomial has none")
        return self


def _envelope(config: TensorNetConfig, distances: Array, cutoff_lower: float) -> Array:
    if config.envelope == "polynomial":
        return radial.polynomial_envelope(distances, config.cutoff)
    return radial.cosine_envelope(distances, config.cutoff, cutoff_lower)


class RadialBasis(nn.Module):
    """Radial functions of a distance, with the cosine envelope where torchmd-net has it."""

    config: TensorNetConfig
    dtype: str

    @nn.compact
    def __call__(self, distances: Array) -> Array:
        """(...) Å → (..., R)."""
        c = self.config
        size, cutoff, lower = c.num_radial, c.cutoff, c.cutoff_lower
        if c.radial == "gaussian":
            offsets, coefficient = radial.gaussian_parameters(size, cutoff, lower)
            return radial.gaussian(
                distances,
                self._constant("offsets", offsets),
                self._constant("coefficient", coefficient),
            )
        means, betas = radial.expnorm_parameters(size, cutoff, lower)
        values = radial.expnorm(
            distances, self._constant("means", means), self._constant("betas", betas), cutoff, lower
        )
        if c.cutoff_once:
            return values
        # The lower cutoff has no part in this factor.
        return values * _envelope(c, distances, 0.0)[..., None]

    def _constant(self, name: str, start: np.ndarray) -> Array:
        # Kept with the weights even when not trained: checkpoints from elsewhere bring their own
        # values, which differ in the eighth digit.
        def init(*_: Array) -> Array:
            return jnp.asarray(start, self.dtype)

        if self.config.trainable_radial:
            return self.param(name, init)
        return self.variable("buffers", name, init).value


class AtDistances(NamedTuple):
    """Radial functions (P, R) of some distances, and the cutoff function (P,)."""

    basis: Array
    envelope: Array


class RadialValues(NamedTuple):
    """Radial functions of the pairs, 0 for padding by their envelope, and at distance 0."""

    pairs: AtDistances
    origin: AtDistances


class Mixing(nn.Module):
    """A linear map of the channels of I, A and S, each with its own matrix and no bias."""

    num_channels: int
    dtype: str

    def setup(self) -> None:
        """Create the three matrices."""
        width = self.num_channels
        self.parts = [dense(width, width, self.dtype, use_bias=False) for _ in range(3)]

    def __call__(self, tensor: RankTwo) -> RankTwo:
        """(..., d, F) → (..., d, F), part by part."""
        return RankTwo(*(layer(x) for layer, x in zip(self.parts, tensor, strict=True)))


class LinearFilter(nn.Module):
    """The matrix of a filter that is linear in R radial functions; with a bias as the last row."""

    num_radial: int
    num_channels: int
    dtype: str
    use_bias: bool

    @nn.compact
    def matrix(self) -> Array:
        """Return (R + 1, F) or, without bias, (R, F)."""
        init, shape = torch_uniform(self.num_radial), (self.num_radial, self.num_channels)
        kernel = self.param("kernel", init, shape, self.dtype)
        if not self.use_bias:
            return kernel
        return jnp.concatenate([kernel, self.param("bias", init, shape[1:], self.dtype)[None]])


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

    def tables(self) -> tuple[Array, Array]:
        """Return (S, F) of the centre and (S, F) of the neighbour."""
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
    def tables(self) -> tuple[Array, Array]:
        """Return (S, F) of the centre and (S, F) of the neighbour."""
        init, shape = nn.initializers.normal(1.0), (self.num_species, self.num_channels)
        of_centre = self.param("of_centre", init, shape, self.dtype)
        return of_centre, self.param("of_neighbour", init, shape, self.dtype)


class Embedding(nn.Module):
    """Initial tensors of the atoms from species, distances and directions (Eqs. 6–10)."""

    config: TensorNetConfig
    num_species: int
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        tables = SpeciesTables if c.compression else SpeciesPair
        self.pair_species = tables(self.num_species, width, dtype)
        self.filters = [
            LinearFilter(c.basis_size, width, dtype, not c.compression) for _ in range(3)
        ]
        self.norm = layer_norm(dtype)
        self.gate_hidden = dense(width, 2 * width, dtype)
        self.gates = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing = Mixing(width, dtype)

    def __call__(
        self, species: Array, edges: EdgeIndex, directions: Array, radial: RadialValues
    ) -> RankTwo:
        """Return the tensors of the atoms, (N, 1 | 3 | 5, F).

        Args:
            species: (N,) int32.
            edges: connectivity.
            directions: (P, 3) unit vectors of the pairs' first edges.
            radial: functions of the pairs' distances.
        """
        act = ACTIVATIONS[self.config.activation]
        tables = self.pair_species.tables()
        weights = [layer.matrix() for layer in self.filters]
        basis, at_origin = (self._with_bias(*values) for values in radial)
        geometry = parts_of_unit_vectors(directions)
        sums = self._by_species if self.num_species <= MOST_SPECIES else self._by_edges
        tensor = RankTwo(*sums(species, edges, geometry, basis, weights, tables))
        to_itself = (tables[0] + tables[1])[species] * (at_origin @ weights[0])
        tensor = tensor._replace(scalar=tensor.scalar + geometry[0][0] * to_itself[:, None, :])
        hidden = act(self.gate_hidden(self.norm(squared_norm(tensor))))
        return self.mixing(tensor).scaled_by_part([act(layer(hidden)) for layer in self.gates])

    def filters_of(self, values: AtDistances) -> list[Array]:
        """Filters of I, A and S with the cutoff function: of P distances, three (P, F)."""
        basis = self._with_bias(*values)
        return [basis @ layer.matrix() for layer in self.filters]

    def _with_bias(self, basis: Array, envelope: Array) -> Array:
        """Radial functions times the cutoff function; alone at the end, it is what a bias meets."""
        envelope = envelope[:, None]
        if self.config.compression:
            return basis * envelope
        return jnp.concatenate([basis * envelope, envelope], axis=-1)

    def _by_species(self, species, edges, geometry, basis, weights, tables) -> list[Array]:
        of_centre, of_neighbour = tables
        signs = np.array([1] + [-1] * 3 + [1] * 5)
        geometry = on_both_edges(jnp.concatenate(geometry, axis=-1), signs)
        densities = neighbour_densities(geometry, basis, species, self.num_species, edges)
        found = []
        for part, matrix in zip(jnp.split(densities, (1, 4), axis=1), weights, strict=True):
            both = (of_neighbour[:, None] * matrix).reshape(-1, matrix.shape[1])
            every = part.reshape(*part.shape[:2], -1) @ both
            found.append(every + of_centre[species][:, None] * (jnp.sum(part, axis=2) @ matrix))
        return found

    def _by_edges(self, species, edges, geometry, basis, weights, tables) -> list[Array]:
        of_centre, of_neighbour = (table[species] for table in tables)
        factor = at_receivers(of_centre, edges) + at_senders(of_neighbour, edges)
        identity, skew, symmetric = geometry
        sides = on_both_edges(identity), on_both_edges(skew, -1), on_both_edges(symmetric)
        filters = [on_both_edges(basis @ matrix) * factor for matrix in weights]
        return list(collect(sides, tuple(filters), edges))


class Interaction(nn.Module):
    """One round of messages and tensor products (Eqs. 11–13)."""

    config: TensorNetConfig
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        if c.compression:
            self.filters = [LinearFilter(c.basis_size, width, dtype, False) for _ in range(3)]
        else:
            self.filter_hidden = [dense(c.num_radial, width, dtype), dense(width, 2 * width, dtype)]
            self.filters = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing_before = Mixing(width, dtype)
        self.mixing_after = Mixing(width, dtype)

    def __call__(
        self,
        tensor: RankTwo,
        edges: EdgeIndex,
        radial: RadialValues,
        charge_factor: Array,
    ) -> RankTwo:
        """Return updated tensors; charge_factor: (N, 1, 1), other arguments as `Embedding`."""
        filters, self_filters = self.filters_of(radial.pairs), self.filters_of(radial.origin)
        tensor = tensor.scaled(1 / (squared_norm(tensor) + 1))
        y = self.mixing_before(tensor)
        message = RankTwo(*convolve(tuple(filters), y, edges)) + y.scaled_by_part(self_filters)
        if self.config.group == "O(3)":
            product = anticommutator(y, message).scaled(charge_factor)
        else:
            product = matmul(y, message).scaled(2.0)
        update = self.mixing_after(product.scaled(1 / (squared_norm(product) + 1)))
        # ΔX ΔX is half an anticommutator, the product that is at hand already.
        square = anticommutator(update, update).scaled(0.5)
        return tensor + update + square.scaled(charge_factor)

    def filters_of(self, values: AtDistances) -> list[Array]:
        """Filters of I, A and S with the cutoff function: of P distances, three (P, 1, F)."""
        basis, envelope = values
        if self.config.compression:
            return [
                ((basis * envelope[:, None]) @ layer.matrix())[:, None] for layer in self.filters
            ]
        act = ACTIVATIONS[self.config.activation]
        for layer in self.filter_hidden:
            basis = act(layer(basis))
        return [act(layer(basis[:, None])) * envelope[:, None, None] for layer in self.filters]


class TensorNet(nn.Module):
    """TensorNet from a padded graph to per-atom energies and the like.

    config: hyperparameters.
    numbers: element table.
    dtype: "float32" or "float64".
    """

    config: TensorNetConfig
    numbers: tuple[int, ...]
    dtype: str = "float32"

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        self.radial = (
            RadialTable(c.compression, c.cutoff, dtype) if c.compression else RadialBasis(c, dtype)
        )
        self.embedding = Embedding(c, len(self.numbers), dtype)
        self.layers = [Interaction(c, dtype) for _ in range(c.num_layers)]
        self.norm = layer_norm(dtype)
        self.linear = dense(3 * width, width, dtype)
        self.readouts = {head: ScalarReadout(width, c.activation, dtype) for head in c.heads}

    def __call__(self, graph: AtomGraph) -> dict[str, Array]:
        """Return "energies" (N,) without scale and "dipole" (B, 3), as far as there are heads."""
        features = self.features(graph)
        outputs = {}
        if "energy" in self.config.heads:
            energies = self.readouts["energy"](features)
            outputs["energies"] = jnp.where(graph.node_mask, energies, 0)
        if "dipole" in self.config.heads:
            charges = self.readouts["dipole"](features)
            outputs["dipole"] = centred_dipole(charges, graph, self.numbers)
        return outputs

    def features(self, graph: AtomGraph) -> Array:
        """Invariant features of the atoms, (N, F)."""
        invariants = squared_norms(self.tensors(graph)[-1])
        invariants = invariants.reshape(invariants.shape[0], -1)
        act = ACTIVATIONS[self.config.activation]
        return act(self.linear(self.norm(invariants)))

    def tensors(self, graph: AtomGraph) -> list[RankTwo]:
        """Tensors of the atoms after the embedding and after every layer."""
        c, edges = self.config, graph.edges
        vectors = graph.pair_vectors()
        distances = norm(vectors)
        # torchmd-net points edges from neighbour to centre: A changes sign, which SO(3) sees.
        sign = 1 if c.so3_convention == "warp" else -1
        directions = sign * divide(vectors, distances[:, None])
        mask = graph.edge_mask[: edges.num_pairs]
        pairs = self._at(distances)
        pairs = pairs._replace(envelope=jnp.where(mask, pairs.envelope, 0))
        radial = RadialValues(pairs, self._at(jnp.zeros(1, distances.dtype)))
        factor = (1 + 0.1 * graph.charge)[graph.node_graph][:, None, None]
        tensor = self.embedding(graph.species, edges, directions, radial)
        history = [tensor]
        for layer in self.layers:
            tensor = layer(tensor, edges, radial, factor)
            history.append(tensor)
        return history

    def radial_functions(self, distances: Array) -> list[Array]:
        """All functions of distance (D,) Å, those of the embedding and of each layer: (D, 3F)."""
        values = self._at(distances)
        found = [self.embedding.filters_of(values)]
        found += [[f[:, 0] for f in layer.filters_of(values)] for layer in self.layers]
        return [jnp.concatenate(filters, axis=-1) for filters in found]

    def compressed(self, table: Array, matrices: list[Array]) -> dict[str, Any]:
        """Return the variables of the same model with splines in place of `radial_functions`.

        Args:
            table: coefficients of the splines, (intervals + 3, rank).
            matrices: what combines them to the functions, (rank, 3F) each.
        """
        params = flatten_dict(dict(self.variables["params"]))
        kept = {
            path: leaf
            for path, leaf in params.items()
            if path[0] != "radial"
            and not any(name.startswith(("filter", "pair_species")) for name in path)
        }
        owners = ["embedding", *(f"layers_{k}" for k in range(self.config.num_layers))]
        for owner, matrix in zip(owners, matrices, strict=True):
            for k, kernel in enumerate(jnp.split(matrix, 3, axis=1)):
                kept[owner, f"filters_{k}", "kernel"] = kernel
        of_centre, of_neighbour = self.embedding.pair_species.tables()
        kept["embedding", "pair_species", "of_centre"] = of_centre
        kept["embedding", "pair_species", "of_neighbour"] = of_neighbour
        kept["radial", "table"] = table
        return {"params": unflatten_dict(kept), "buffers": {}}

    def _at(self, distances: Array) -> AtDistances:
        if self.config.compression:
            # Tabulated with the cutoff function.
            return AtDistances(self.radial(distances), jnp.ones_like(distances))
        envelope = _envelope(self.config, distances, self.config.cutoff_lower)
        return AtDistances(self.radial(distances), envelope)
