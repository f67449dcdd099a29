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
from tensornet_jax.ops.rotations.edge_features import to_atoms, to_edges
from tensornet_jax.ops.rotations.edge_frames import ByOrder, order_indices
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout, Orders
from tensornet_jax.ops.so2.by_paths import convolve_by_paths
from tensornet_jax.ops.so2.convolution import SO2Weights, convolve_by_order, convolve_in_layout
from tensornet_jax.ops.so2.scaling import scale_degrees


class SO2Matrices(nn.Module):
    """The weights of an SO(2) convolution, the same for all edges, that mixes channels.

    channels, features: channels that go in and come out.
    """

    config: ESCNConfig
    channels: int
    features: int
    dtype: str

    @nn.compact
    def __call__(self) -> SO2Weights:
        """Return the matrices, (features, channels, degrees, degrees) an order."""
        c = self.config

        def matrices(name: str, first: int) -> tuple[Array, ...]:
            found = []
            for m in range(first, c.highest_order + 1):
                degrees = c.l_max + 1 - m
                shape = (self.features, self.channels, degrees, degrees)
                init = normal_kernel(self.channels * degrees)
                found.append(self.param(f"{name}_{m}", init, shape, self.dtype))
            return tuple(found)

        cross = matrices("cross", 1) if c.group == "SO(3)" else None
        return SO2Weights(matrices("same", 0), cross)


class Convolution(nn.Module):
    """Messages: two SO(2) convolutions of both ends' features, with gates between them.

    There are three ways to the same numbers: in frames and in the layout of a CPU, in frames and in
    that of accelerators, and by Clebsch–Gordan paths, for which features need no frame: all
    components then stand under "cosine".
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
        count = c.l_max + 1
        weights = EdgeNetwork(c, self.num_species, 2 * channels * count, dtype)(edges)
        weights = weights.reshape(-1, count, 2 * channels)
        first = SO2Matrices(c, 2 * channels, hidden, dtype, name="first")()
        second = SO2Matrices(c, hidden, channels, dtype, name="second")()
        gates = Perceptron((), c.l_max * hidden, dtype, name="gates")
        if edges.matrices is not None:
            found = self._in_layout(features, weights, edges, first, second, gates)
        elif edges.frames is not None:
            found = self._in_frames(features, weights, edges, first, second, gates)
        else:
            found = self._by_paths(features, weights, edges, first, second, gates)
        return found * c.message_scale

    def _in_layout(
        self,
        features: Array,
        weights: Array,
        edges: Edges,
        first: SO2Weights,
        second: SO2Weights,
        gates: Perceptron,
    ) -> Array:
        """In the layout of accelerators, so that arrays of edges are written but once each."""
        c, matrices = self.config, edges.matrices
        assert matrices is not None
        l_max, m_max, index = c.l_max, c.highest_order, edges.connectivity
        messages = to_edges(EdgeLayout(l_max, m_max, 2), features, weights, matrices, index)
        messages = _gated(convolve_in_layout(messages, first), gates)
        messages = convolve_in_layout(messages, second)
        return to_atoms(EdgeLayout(l_max, m_max, 1), None, matrices, messages, index)

    def _in_frames(
        self,
        features: Array,
        weights: Array,
        edges: Edges,
        first: SO2Weights,
        second: SO2Weights,
        gates: Perceptron,
    ) -> Array:
        c, frames = self.config, edges.frames
        assert frames is not None
        l_max, m_max = c.l_max, c.highest_order
        messages = frames.align(_both_ends(features, weights, edges).mT, m_max)
        messages = convolve_by_order(messages, first, l_max, True)
        degrees = Degrees(0, l_max).of_components
        cosine, sine = order_indices(l_max, m_max)
        messages = _activate(messages, degrees[cosine], degrees[sine], gates)
        messages = convolve_by_order(messages, second, l_max, True)
        return sum_at_receivers(frames.restore(messages, l_max, m_max).mT, edges.connectivity)

    def _by_paths(
        self,
        features: Array,
        weights: Array,
        edges: Edges,
        first: SO2Weights,
        second: SO2Weights,
        gates: Perceptron,
    ) -> Array:
        degrees = Degrees(0, self.config.l_max).of_components
        messages = _both_ends(features, weights, edges)
        messages = convolve_by_paths(messages, edges.harmonics, first).transpose(1, 0, 2)
        messages = _activate(ByOrder(messages, messages[:0]), degrees, degrees[:0], gates).cosine
        messages = convolve_by_paths(messages.transpose(1, 0, 2), edges.harmonics, second)
        return sum_at_receivers(messages, edges.connectivity)


def _both_ends(
    features: Float[Array, "atoms components channels"],
    weights: Float[Array, "edges degrees both"],
    edges: Edges,
) -> Float[Array, "edges components both"]:
    """Features of receivers and then of senders, times the edges' weights."""
    weights = weights[:, Degrees(0, weights.shape[1] - 1).of_components]
    ends = at_receivers(features, edges.connectivity), at_senders(features, edges.connectivity)
    return jnp.concatenate(ends, axis=-1) * weights


def _gated(messages: Orders, gates: Perceptron) -> Orders:
    """As `_activate`, in the layout of `EdgeLayout`."""
    scalars = messages[0][:, 0, 0]
    channels, l_max = scalars.shape[-1], messages[0].shape[2] - 1
    factors = jax.nn.sigmoid(gates(scalars)).reshape(scalars.shape[0], l_max, channels)
    # Scalars too are multiplied: silu(x) = x sigmoid(x).
    own = SILU_GAIN * jax.nn.sigmoid(scalars)[:, None]
    return scale_degrees(messages, jnp.concatenate([own, factors], axis=1))


def _activate(
    messages: ByOrder,
    cosine: Int[np.ndarray, " cosines"],
    sine: Int[np.ndarray, " sines"],
    gates: Perceptron,
) -> ByOrder:
    """Scalars by silu, components of the given degrees by gates made of scalars."""
    hidden = messages.cosine.shape[-1]
    factors = jax.nn.sigmoid(gates(messages.cosine[0]))
    factors = factors.reshape(factors.shape[0], -1, hidden).transpose(1, 0, 2)
    scalars = SILU_GAIN * jax.nn.silu(messages.cosine[:1])
    return ByOrder(
        jnp.concatenate(
            [
                scalars if degree == 0 else part[None] * factors[degree - 1]
                for degree, part in zip(cosine, messages.cosine, strict=True)
            ]
        ),
        jnp.stack(
            [part * factors[degree - 1] for degree, part in zip(sine, messages.sine, strict=True)]
        )
        if len(sine)
        else messages.sine,
    )
