"""An equivariant spherical channel network (arXiv:2302.03655) whose forces conserve energy.

The SO(2) convolutions are those of eSCN. Around them stands what later work found necessary for a
smooth potential (arXiv:2502.12147): an envelope on all that comes over an edge, activations by
gates or by exact products instead of a coarse grid, normalization without a limit on neighbors,
and forces that are the gradient of the energy. Nothing depends on the roll of the edges' frames.
"""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.read_outs import OtherHeads, centered_dipole
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.models.spherical import (
    SILU_GAIN,
    DegreeLinear,
    Perceptron,
    SphericalConfig,
    edge_geometry,
    normal_kernel,
    radial_basis,
    split_degrees,
)
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.messages.message import (
    EdgeIndex,
    at_receivers,
    at_senders,
    on_both_edges,
    sum_at_receivers,
)
from tensornet_jax.ops.rotations.edge_frames import ByOrder, EdgeFrames, edge_frames, order_indices
from tensornet_jax.ops.so2.by_paths import convolve_by_paths
from tensornet_jax.ops.so2.convolution import SO2Weights, convolve_by_order
from tensornet_jax.ops.tensor_products import GauntGrid


class ESCNConfig(SphericalConfig):
    """Hyperparameters of eSCN."""

    name: Literal["escn"] = "escn"
    hidden_channels: int = Field(default=64, ge=1, description="channels inside a convolution")
    l_max: int = Field(default=3, ge=0, description="highest degree of the features")
    m_max: int | None = Field(
        default=2,
        ge=0,
        description="highest order the convolutions keep; null for l_max: nothing is cut off",
    )
    convolution: Literal["so2", "clebsch_gordan"] = Field(
        default="so2",
        description="how convolutions are evaluated; clebsch_gordan is the same function at a cost "
        "that grows like L⁶, to compare with",
    )
    activation: Literal["gate", "grid"] = Field(
        default="gate",
        description="of the atoms: gates, or products of signals on a grid that is exact for them",
    )
    readout_width: int = Field(default=64, ge=1, description="hidden width of the read-out")

    @model_validator(mode="after")
    def _consistent(self) -> "ESCNConfig":
        if self.compression is not None:
            raise ValueError("compression: this model has no functions of distance alone")
        if self.m_max is not None and self.m_max > self.l_max:
            raise ValueError(
                f"m_max ({self.m_max}) must not be above l_max ({self.l_max}): there are no such "
                "orders; use null for all"
            )
        return self

    @property
    def highest_degree(self) -> int:
        """The highest degree of the features that heads see."""
        return self.l_max

    @property
    def degree_remedy(self) -> str:
        """What to do about a tensor that needs a higher degree."""
        return "raise l_max"

    @property
    def highest_order(self) -> int:
        """The orders |m| up to which the convolutions work."""
        return self.l_max if self.m_max is None else self.m_max


class Edges(NamedTuple):
    """What the layers share of a graph's edges.

    index: connectivity.
    frames: of all edges, (E, 1).
    harmonics: (E, (l_max + 1)²) normalization ``component``; to 2 l_max for convolutions by paths.
    basis: (E, R) radial functions times the cutoff function, 0 for padding.
    species: of receivers and senders, each (E,).
    """

    index: EdgeIndex
    frames: EdgeFrames
    harmonics: Array
    basis: Array
    species: tuple[Array, Array]


class EdgeNetwork(nn.Module):
    """Weights of an edge from its distance and the elements at its ends, 0 at the cutoff.

    features: numbers that come out.
    """

    config: ESCNConfig
    num_species: int
    features: int
    dtype: str

    @nn.compact
    def __call__(self, edges: Edges) -> Array:
        """Return (E, features)."""
        c, first = self.config, self.config.radial_widths[0]
        # One linear layer of distance and both elements, the elements as tables: their factors
        # multiply the radial part, so that all of it vanishes at the cutoff.
        values = Perceptron((), first, self.dtype, name="radial")(edges.basis)
        for name, species in zip(("receiver", "sender"), edges.species, strict=True):
            table = self.param(
                name, nn.initializers.normal(1.0), (self.num_species, first), self.dtype
            )
            values = values * (1 + table[species])
        values = SILU_GAIN * jax.nn.silu(values)
        return Perceptron(c.radial_widths[1:], self.features, self.dtype, name="layers")(values)


class SO2Linear(nn.Module):
    """An SO(2) convolution with the same weights for all edges, mixing channels."""

    config: ESCNConfig
    features: int
    dtype: str

    @nn.compact
    def __call__(self, messages: ByOrder, edges: Edges) -> ByOrder:
        """(components, E, C) → (components, E, features)."""
        c, channels = self.config, messages.cosine.shape[-1]

        def matrices(name: str, first: int) -> tuple[Array, ...]:
            found = []
            for m in range(first, c.highest_order + 1):
                degrees = c.l_max + 1 - m
                shape = (self.features, channels, degrees, degrees)
                init = normal_kernel(channels * degrees)
                found.append(self.param(f"{name}_{m}", init, shape, self.dtype))
            return tuple(found)

        cross = matrices("cross", 1) if c.group == "SO(3)" else None
        weights = SO2Weights(matrices("same", 0), cross)
        if c.convolution == "so2":
            return convolve_by_order(messages, weights, c.l_max, True)
        turned = messages.cosine.transpose(1, 0, 2)
        result = convolve_by_paths(turned, edges.harmonics, weights).transpose(1, 0, 2)
        return ByOrder(result, result[:0])


class Convolution(nn.Module):
    """Messages: two SO(2) convolutions of both ends' features, with gates between them.

    By Clebsch–Gordan paths features need no frame: all components then stand under "cosine".
    """

    config: ESCNConfig
    num_species: int
    dtype: str

    @nn.compact
    def __call__(self, features: Array, edges: Edges) -> Array:
        """(N, (l_max + 1)², C) → the same, summed over the neighbors."""
        c, dtype = self.config, self.dtype
        channels, hidden = c.num_channels, c.hidden_channels
        degrees, m_max = Degrees(0, c.l_max), c.highest_order
        weights = EdgeNetwork(c, self.num_species, 2 * channels * degrees.count, dtype)(edges)
        weights = weights.reshape(-1, degrees.count, 2 * channels)[:, degrees.of_components]
        ends = at_receivers(features, edges.index), at_senders(features, edges.index)
        both = jnp.concatenate(ends, axis=-1) * weights
        if c.convolution == "so2":
            messages = edges.frames.align(both.mT, m_max)
            parts = order_indices(c.l_max, m_max)
        else:
            whole = both.transpose(1, 0, 2)
            messages, parts = ByOrder(whole, whole[:0]), (slice(None), slice(0))
        messages = SO2Linear(c, hidden, dtype, name="first")(messages, edges)
        messages = self._activate(messages, *(degrees.of_components[part] for part in parts))
        messages = SO2Linear(c, channels, dtype, name="second")(messages, edges)
        if c.convolution == "so2":
            messages = edges.frames.restore(messages, c.l_max, m_max).mT
        else:
            messages = messages.cosine.transpose(1, 0, 2)
        return sum_at_receivers(messages, edges.index) * c.message_scale

    def _activate(self, messages: ByOrder, cosine: np.ndarray, sine: np.ndarray) -> ByOrder:
        """Scalars by silu, components of the given degrees by gates made of scalars."""
        c, hidden = self.config, self.config.hidden_channels
        gates = Perceptron((), c.l_max * hidden, self.dtype, name="gates")(messages.cosine[0])
        gates = jax.nn.sigmoid(gates).reshape(-1, c.l_max, hidden).transpose(1, 0, 2)
        scalars = SILU_GAIN * jax.nn.silu(messages.cosine[:1])
        return ByOrder(
            jnp.concatenate(
                [
                    scalars if degree == 0 else part[None] * gates[degree - 1]
                    for degree, part in zip(cosine, messages.cosine, strict=True)
                ]
            ),
            jnp.stack(
                [part * gates[degree - 1] for degree, part in zip(sine, messages.sine, strict=True)]
            )
            if len(sine)
            else messages.sine,
        )


class Normalization(nn.Module):
    """Division by the root mean square of all degrees, each degree with weights of its own.

    Every degree counts the same in the mean. Divided by its own norm, a degree that vanishes by
    symmetry would be steep there: that is no smooth potential. Scalars lose their mean first.
    """

    dtype: str

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """(N, (l_max + 1)², C) → the same."""
        parts = split_degrees(features)
        parts[0] = parts[0] - jnp.mean(parts[0], axis=-1, keepdims=True)
        squares = [jnp.mean(part**2, axis=(1, 2), keepdims=True) for part in parts]
        scale = jax.lax.rsqrt(sum(squares) / len(parts) + 1e-5)
        shape = (len(parts), features.shape[-1])
        weights = self.param("weights", nn.initializers.ones, shape, self.dtype)
        degrees = Degrees(0, len(parts) - 1).of_components
        return jnp.concatenate(parts, axis=1) * scale * weights[degrees]


class FeedForward(nn.Module):
    """What an atom does with its own features: linear, activation, linear."""

    config: ESCNConfig
    dtype: str

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """(N, (l_max + 1)², C) → the same."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        parts = split_degrees(features)
        hidden = DegreeLinear(width, dtype, name="first")(parts)
        scalars = SILU_GAIN * jax.nn.silu(hidden[0])
        if c.activation == "gate":
            gates = Perceptron((), c.l_max * width, dtype, name="gates")(parts[0][:, 0])
            gates = jnp.split(jax.nn.sigmoid(gates)[:, None], c.l_max, axis=-1) if c.l_max else []
            hidden[1:] = [part * gate for part, gate in zip(hidden[1:], gates, strict=True)]
        else:
            other = DegreeLinear(width, dtype, name="other")(parts)
            product = GauntGrid(c.l_max, c.l_max, c.l_max, "component")
            first, second = (jnp.concatenate(x, axis=1).mT for x in (hidden, other))
            hidden = split_degrees(product(first, second).mT)
            scalars = scalars + hidden[0]
        hidden[0] = scalars
        return jnp.concatenate(DegreeLinear(width, dtype, name="second")(hidden), axis=1)


class ESCN(nn.Module):
    """eSCN from a padded graph to per-atom energies and the like.

    config: hyperparameters.
    numbers: element table.
    dtype: "float32" or "float64".
    """

    config: ESCNConfig
    numbers: tuple[int, ...]
    dtype: str = "float32"

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, num_species = self.config, self.dtype, len(self.numbers)
        channels = c.num_channels
        self.table = self.param(
            "embedding", nn.initializers.normal(1.0), (num_species, channels), dtype
        )
        if c.electronic_state:
            self.state = ElectronicState(c.electronic_state, num_species, channels, dtype)
        self.surroundings = EdgeNetwork(c, num_species, channels * (c.l_max + 1), dtype)
        self.convolutions = [Convolution(c, num_species, dtype) for _ in range(c.num_layers)]
        self.feed_forwards = [FeedForward(c, dtype) for _ in range(c.num_layers)]
        self.norms = [Normalization(dtype) for _ in range(2 * c.num_layers + 1)]
        self.readouts = {head: Perceptron((c.readout_width,), 1, dtype) for head in c.own_heads}
        if c.has_other_heads:
            self.other_heads = OtherHeads(c, num_species, dtype)

    def __call__(self, graph: AtomGraph) -> dict[str, Array]:
        """Return "energies" (N,) without scale and whatever else there are heads for."""
        c = self.config
        edges = self._edges(graph)
        features = self._features(self._start(graph, edges), edges)
        scalars = features[:, 0]
        # The same network on atoms without neighbors: what it makes of them is E0 by definition.
        alone = self._features(self._isolated(self.table), None)[:, 0]
        found = {}
        for head, readout in self.readouts.items():
            values = readout(scalars) - readout(alone)[graph.species]
            found[head] = jnp.where(graph.node_mask, values[:, 0], 0)
        outputs = {"energies": found["energy"]} if "energy" in found else {}
        if "dipole" in found:
            outputs["dipole"] = centered_dipole(found["dipole"], graph, self.numbers)
        if c.has_other_heads:
            outputs |= self.other_heads(AtomFeatures(scalars, split_degrees(features)), graph)
        return outputs

    def _edges(self, graph: AtomGraph) -> Edges:
        c = self.config
        by_paths = c.convolution == "clebsch_gordan"
        geometry = edge_geometry(
            graph,
            2 * c.l_max if by_paths else c.l_max,
            lambda distances: radial_basis(distances, c),
        )
        directions = on_both_edges(geometry.directions, -1)
        edges = graph.edges
        return Edges(
            edges.index,
            edge_frames(directions[:, None], c.l_max),
            geometry.harmonics,
            on_both_edges(geometry.basis),
            (graph.species[edges.receivers], graph.species[edges.senders]),
        )

    def _isolated(self, scalars: Array) -> Array:
        """Features (N, (l_max + 1)², C) with these scalars (N, C) and nothing else."""
        size = Degrees(0, self.config.l_max).size
        return jnp.pad(scalars[:, None], [(0, 0), (0, size - 1), (0, 0)])

    def _start(self, graph: AtomGraph, edges: Edges) -> Array:
        """The element and, in all degrees, where the neighbors are."""
        c = self.config
        degrees = Degrees(0, c.l_max)
        weights = self.surroundings(edges).reshape(-1, degrees.count, c.num_channels)
        harmonics = edges.harmonics[:, : degrees.size, None]
        around = harmonics * weights[:, degrees.of_components]
        around = sum_at_receivers(around, edges.index) * c.message_scale
        scalars = self.table[graph.species]
        if c.electronic_state:
            scalars = scalars + self.state(graph)
        return self._isolated(scalars) + around

    def _features(self, features: Array, edges: Edges | None) -> Array:
        """Features (N, (l_max + 1)², C) after all layers; without edges, of isolated atoms."""
        for layer, (convolve, feed_forward) in enumerate(
            zip(self.convolutions, self.feed_forwards, strict=True)
        ):
            if edges is not None:
                features = features + convolve(self.norms[2 * layer](features), edges)
            features = features + feed_forward(self.norms[2 * layer + 1](features))
        return self.norms[-1](features)
