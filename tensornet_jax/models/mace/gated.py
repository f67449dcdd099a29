"""MACE's gated interaction, mace-torch's RealAgnosticResidualNonLinearInteractionBlock.

What a neighbor sends depends on the elements of both atoms, through the networks that make the
weights of its message; messages and the atom's own features go through a gate.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from tensornet_jax.models.layers import (
    SIGMOID_GAIN_OF_E3NN,
    SILU_GAIN_OF_E3NN,
    Perceptron,
    layer_norm,
    scale_of_species,
    torch_uniform,
)
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.models.spherical.geometry import EdgeGeometry
from tensornet_jax.ops.messages.edge_products import PathProduct
from tensornet_jax.ops.messages.message import (
    EdgeIndex,
    at_receivers,
    at_senders,
    on_both_edges,
    sum_at_receivers,
)

Parts = list[Float[Array, "atoms _ channels"]]
"""By degree, 2l + 1 components each."""

DENSITY_WIDTH = 64
_START_OF_EMBEDDINGS = 1e-3
_START_OF_SCALE = 20.0


class GatedInteraction(nn.Module):
    """Messages through a gate, and what of an atom's features is kept beside them.

    num_species: size of the element table.
    l_out_max: highest degree that is kept.
    """

    config: MACEConfig
    layer: int
    num_species: int
    l_out_max: int
    dtype: str

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "atoms components channels"],
        species: Int[Array, " atoms"],
        geometry: EdgeGeometry,
        edges: EdgeIndex,
        mask: Bool[Array, " pairs"],
    ) -> tuple[Parts, Parts]:
        """Return messages of degrees 0 … l_max, and kept features of degrees 0 … l_out_max."""
        c, parts = self.config, split_degrees(features)
        every = (c.num_channels,) * (c.l_max + 1)
        # Scalars, and a gate for each channel of each higher degree.
        before_gate = (c.num_channels * (c.l_max + 1), *every[1:])
        kept = self._linear("skip", every)(parts[: self.l_out_max + 1])
        channels, l_max = c.sent_in_layer(self.layer)
        own = self._linear("before", (channels,) * (l_max + 1))(parts[: l_max + 1])
        product = PathProduct(l_max, c.l_max, c.parity)
        size = product.num_weights * channels
        made = self._tabulated if c.compression else self._made
        weights, densities = made(size, species, geometry, edges, mask)
        total = sum_at_receivers(densities, edges)
        weights = weights.reshape(-1, product.num_weights, channels)
        summed = product(jnp.concatenate(own, axis=1), geometry.harmonics, weights, edges)
        alpha = self.param("alpha", nn.initializers.constant(_START_OF_SCALE), (), self.dtype)
        beta = self.param("beta", nn.initializers.zeros, (), self.dtype)
        scale = 1 / (total * beta + alpha)[:, None]
        messages = [part * scale for part in self._linear("after", before_gate)(summed)]
        added = self._linear("residual", before_gate)(own)
        messages[: len(added)] = map(jnp.add, messages, added)
        return self._linear("mixed", every)(self._gated(messages)), kept

    def _made(
        self, size: int, species: Array, geometry: EdgeGeometry, edges: EdgeIndex, mask: Array
    ) -> tuple[Float[Array, "edges weights"], Float[Array, "edges 1"]]:
        """Weights and densities of the edges, 0 for padding."""
        c = self.config
        scale = scale_of_species(self, self.num_species, self.dtype) if c.unit_weights else 1.0
        source, target = (scale * self._embedding(name)[species] for name in ("source", "target"))
        weights = EdgeNetwork(c.radial_widths, size, self.dtype, name="radial")(
            geometry.basis, source, target, edges
        )
        density = EdgeNetwork((DENSITY_WIDTH,), 1, self.dtype, name="density")(
            geometry.basis, source, target, edges
        )
        ending = mask.astype(weights.dtype) if geometry.envelope is None else geometry.envelope
        inside = on_both_edges(ending[:, None])
        return weights * inside, jnp.tanh(density**2) * inside

    def _tabulated(
        self, size: int, species: Array, geometry: EdgeGeometry, edges: EdgeIndex, mask: Array
    ) -> tuple[Float[Array, "edges weights"], Float[Array, "edges 1"]]:
        """The same of a compressed model."""
        # Of first edges and of their reverse side by side.
        of_edges = jnp.concatenate(jnp.split(geometry.basis, 2, axis=1))
        unit = self.config.unit_weights
        weights = Perceptron((), size, self.dtype, unit, name="radial")(of_edges)
        return weights, Perceptron((), 1, self.dtype, unit, name="density")(of_edges)

    def _gated(self, parts: Parts) -> Parts:
        """Scalars through silu, all else times the sigmoid of scalars."""
        c = self.config
        scalars, *gates = jnp.split(parts[0], c.l_max + 1, axis=-1)
        opened = [
            part * (SIGMOID_GAIN_OF_E3NN * jax.nn.sigmoid(gate))
            for part, gate in zip(parts[1:], gates, strict=True)
        ]
        return [SILU_GAIN_OF_E3NN * jax.nn.silu(scalars), *opened]

    def _linear(self, name: str, widths: tuple[int, ...]) -> DegreeLinear:
        return DegreeLinear(widths, self.dtype, unit=self.config.unit_weights, name=name)

    def _embedding(self, name: str) -> Float[Array, "species channels"]:
        def init(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
            bound = _START_OF_EMBEDDINGS
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        shape = (self.num_species, self.config.num_channels)
        return self.param(name, init, shape, self.dtype)


class EdgeNetwork(nn.Module):
    """Linear layers with biases, between them layer normalization and silu, for each edge.

    widths: of the hidden layers.
    features: numbers that come out.
    """

    widths: tuple[int, ...]
    features: int
    dtype: str

    @nn.compact
    def __call__(
        self,
        basis: Float[Array, "pairs radial"],
        source: Float[Array, "atoms channels"],
        target: Float[Array, "atoms channels"],
        edges: EdgeIndex | None,
    ) -> Float[Array, "edges features"]:
        """Return numbers of each edge, also of padding.

        Args:
            basis: functions of the distance.
            source: what an atom is as a sender.
            target: what it is as a receiver.
            edges: connectivity; None where all distances are between one sender and one receiver.
        """
        # What the first layer makes of atoms is made before they are gathered.
        sizes = (basis.shape[-1], source.shape[-1], target.shape[-1])
        kernel = self._kernel(0, sum(sizes))
        of_pairs, of_source, of_target = jnp.split(kernel, [sizes[0], sizes[0] + sizes[1]])
        sent, received = source @ of_source, target @ of_target
        if edges is None:
            values = basis @ of_pairs + (sent + received)
        else:
            values = on_both_edges(basis @ of_pairs)
            values += at_senders(sent, edges) + at_receivers(received, edges)
        values += self._bias(0, sum(sizes))
        for index in range(1, len(self.widths) + 1):
            values = layer_norm(self.dtype, f"norm_{index - 1}")(values)
            fan_in = values.shape[-1]
            values = nn.silu(values) @ self._kernel(index, fan_in) + self._bias(index, fan_in)
        return values

    def _kernel(self, index: int, fan_in: int) -> Array:
        shape = (fan_in, (*self.widths, self.features)[index])
        return self.param(f"kernel_{index}", torch_uniform(fan_in), shape, self.dtype)

    def _bias(self, index: int, fan_in: int) -> Array:
        shape = ((*self.widths, self.features)[index],)
        return self.param(f"bias_{index}", torch_uniform(fan_in), shape, self.dtype)
