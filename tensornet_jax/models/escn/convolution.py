"""Messages of eSCN: SO(2) convolutions in the frames of the edges."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.models.escn.edges import EdgeNetwork, Edges
from tensornet_jax.models.layers import SILU_GAIN, Perceptron, normal_kernel
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.messages.message import at_receivers, at_senders, sum_at_receivers
from tensornet_jax.ops.rotations.edge_frames import ByOrder, order_indices
from tensornet_jax.ops.so2.by_paths import convolve_by_paths
from tensornet_jax.ops.so2.convolution import SO2Weights, convolve_by_order


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
    def __call__(
        self, features: Float[Array, "atoms components channels"], edges: Edges
    ) -> Float[Array, "atoms components channels"]:
        """Return the messages, summed over the neighbors."""
        c, dtype = self.config, self.dtype
        channels, hidden = c.num_channels, c.hidden_channels
        degrees, m_max = Degrees(0, c.l_max), c.highest_order
        weights = EdgeNetwork(c, self.num_species, 2 * channels * degrees.count, dtype)(edges)
        weights = weights.reshape(-1, degrees.count, 2 * channels)[:, degrees.of_components]
        ends = at_receivers(features, edges.connectivity), at_senders(features, edges.connectivity)
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
        return sum_at_receivers(messages, edges.connectivity) * c.message_scale

    def _activate(
        self,
        messages: ByOrder,
        cosine: Int[np.ndarray, " cosines"],
        sine: Int[np.ndarray, " sines"],
    ) -> ByOrder:
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
