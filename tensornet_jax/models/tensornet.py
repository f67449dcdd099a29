"""TensorNet (arXiv:2306.06482), with the numbers of torchmd-net 3.1.0 (arXiv:2402.17660).

Where paper and code differ, the code is followed: the cutoff function enters twice (once in the
radial functions, once in the filters; `cutoff_once` gives the paper's form), and every atom has an
edge to itself with distance 0, which adds the filter at zero distance.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.common import ModelConfig, dense, layer_norm
from tensornet_jax.models.heads import ScalarReadout, centred_dipole
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
from tensornet_jax.ops.message import (
    EdgeIndex,
    at_receivers,
    at_senders,
    collect,
    convolve,
    on_both_edges,
)
from tensornet_jax.ops.safe import divide, norm


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


class Embedding(nn.Module):
    """Initial tensors of the atoms from species, distances and directions (Eqs. 6–10)."""

    config: TensorNetConfig
    num_species: int
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        self.species = nn.Embed(
            self.num_species,
            width,
            dtype=dtype,
            param_dtype=dtype,
            embedding_init=nn.initializers.normal(1.0),
        )
        self.pair_species = dense(2 * width, width, dtype)
        self.filters = [dense(c.num_radial, width, dtype) for _ in range(3)]
        self.norm = layer_norm(dtype)
        self.gate_hidden = dense(width, 2 * width, dtype)
        self.gates = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing = Mixing(width, dtype)

    def __call__(
        self,
        species: Array,
        edges: EdgeIndex,
        directions: Array,
        basis: Array,
        envelope: Array,
        self_basis: Array,
        self_envelope: Array,
    ) -> RankTwo:
        """Return the tensors of the atoms, (N, 1 | 3 | 5, F).

        Args:
            species: (N,) int32.
            edges: connectivity.
            directions: (P, 3) unit vectors of the pairs' first edges.
            basis: (P, R) radial functions.
            envelope: (P,) cutoff function, 0 for padding.
            self_basis: (R,) radial functions at distance 0.
            self_envelope: () cutoff function at distance 0.
        """
        act = ACTIVATIONS[self.config.activation]
        # Lin([z_i; z_j]) is the sum of two vectors per species: no product per edge.
        table = self.species(jnp.arange(self.num_species))
        blank = jnp.zeros_like(table)
        of_centre = self.pair_species(jnp.concatenate([table, blank], axis=-1))[species]
        bias = self.pair_species(jnp.concatenate([blank[:1], blank[:1]], axis=-1))
        of_neighbour = (self.pair_species(jnp.concatenate([blank, table], axis=-1)) - bias)[species]
        species_factor = at_receivers(of_centre, edges) + at_senders(of_neighbour, edges)
        pair_filters = [layer(basis) * envelope[:, None] for layer in self.filters]
        weights = [on_both_edges(f) * species_factor for f in pair_filters]
        identity, skew, symmetric = parts_of_unit_vectors(directions)
        geometry = (
            on_both_edges(identity),
            on_both_edges(skew, -1),
            on_both_edges(symmetric),
        )
        tensor = RankTwo(*collect(geometry, tuple(weights), edges))
        to_itself = (of_centre + of_neighbour) * (self.filters[0](self_basis) * self_envelope)
        tensor = tensor._replace(scalar=tensor.scalar + identity[0] * to_itself[:, None, :])
        hidden = act(self.gate_hidden(self.norm(squared_norm(tensor))))
        return self.mixing(tensor).scaled_by_part([act(layer(hidden)) for layer in self.gates])


class Interaction(nn.Module):
    """One round of messages and tensor products (Eqs. 11–13)."""

    config: TensorNetConfig
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        self.filter_hidden = [dense(c.num_radial, width, dtype), dense(width, 2 * width, dtype)]
        self.filters = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing_before = Mixing(width, dtype)
        self.mixing_after = Mixing(width, dtype)

    def __call__(
        self,
        tensor: RankTwo,
        edges: EdgeIndex,
        basis: Array,
        envelope: Array,
        self_basis: Array,
        self_envelope: Array,
        charge_factor: Array,
    ) -> RankTwo:
        """Return updated tensors; charge_factor: (N, 1, 1), other arguments as `Embedding`."""
        filters = [f * envelope[:, None, None] for f in self._radial(basis)]
        self_filters = [f * self_envelope for f in self._radial(self_basis[None])]
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

    def _radial(self, basis: Array) -> list[Array]:
        """Filters of I, A and S without the cutoff function: (P, R) → three (P, 1, F)."""
        act = ACTIVATIONS[self.config.activation]
        for layer in self.filter_hidden:
            basis = act(layer(basis))
        return [act(layer(basis[:, None, :])) for layer in self.filters]


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
        self.radial = RadialBasis(c, dtype)
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
        envelope = jnp.where(mask, _envelope(c, distances, c.cutoff_lower), 0)
        basis = self.radial(distances)
        origin = jnp.zeros((), distances.dtype)
        self_basis = self.radial(origin)
        self_envelope = _envelope(c, origin, c.cutoff_lower)
        at_origin = (self_basis, self_envelope)
        factor = (1 + 0.1 * graph.charge)[graph.node_graph][:, None, None]
        tensor = self.embedding(graph.species, edges, directions, basis, envelope, *at_origin)
        history = [tensor]
        for layer in self.layers:
            tensor = layer(tensor, edges, basis, envelope, *at_origin, factor)
            history.append(tensor)
        return history
