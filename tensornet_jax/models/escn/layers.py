"""What eSCN's atoms do by themselves between the messages.

On a CPU degree by degree. Accelerators, which take longer to start an operation than a few hundred
atoms need in it, do all degrees at once.
"""

from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.models.layers import SILU_GAIN, Perceptron, normal_kernel
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.kernels.choice import for_gpu
from tensornet_jax.ops.linear import by_component
from tensornet_jax.ops.tensor_products import GauntGrid


class Normalization(nn.Module):
    """Division by the root mean square of all degrees, each degree with weights of its own.

    Every degree counts the same in the mean. Divided by its own norm, a degree that vanishes by
    symmetry would be steep there: that is no smooth potential. Scalars lose their mean first.
    """

    dtype: str

    @nn.compact
    def __call__(
        self, features: Float[Array, "atoms components channels"]
    ) -> Float[Array, "atoms components channels"]:
        """Return features of the same degrees."""
        count, channels = round(np.sqrt(features.shape[1])), features.shape[-1]
        degrees = Degrees(0, count - 1)
        weights = self.param("weights", nn.initializers.ones, (count, channels), self.dtype)
        if for_gpu():
            is_scalar = (np.arange(degrees.size) == 0)[:, None]
            mean = jnp.mean(features[:, :1], axis=-1, keepdims=True)
            features = features - jnp.where(is_scalar, mean, 0)
            shares = 1 / (count * channels * (2 * degrees.of_components + 1))[:, None]
            squares = features**2 * shares.astype(features.dtype)
            scale = jax.lax.rsqrt(jnp.sum(squares, axis=(1, 2), keepdims=True) + 1e-5)
            return features * scale * by_component(list(weights), _sizes(count))
        parts = split_degrees(features)
        parts[0] = parts[0] - jnp.mean(parts[0], axis=-1, keepdims=True)
        squares = [jnp.mean(part**2, axis=(1, 2), keepdims=True) for part in parts]
        scale = jax.lax.rsqrt(sum(squares) / len(parts) + 1e-5)
        return jnp.concatenate(parts, axis=1) * scale * weights[degrees.of_components]


class _ComponentLinear(nn.Module):
    """`DegreeLinear` of all degrees in one batched matrix product."""

    features: int
    dtype: str

    @nn.compact
    def __call__(
        self, features: Float[Array, "atoms components _"]
    ) -> Float[Array, "atoms components channels"]:
        count, fan_in = round(np.sqrt(features.shape[1])), features.shape[-1]
        kernels = [
            self.param(
                f"kernel_{degree}", normal_kernel(fan_in), (fan_in, self.features), self.dtype
            )
            for degree in range(count)
        ]
        return jnp.einsum("nac,acd->nad", features, by_component(kernels, _sizes(count)))


def _sizes(count: int) -> Iterator[int]:
    """Components of the degrees from 0 on."""
    return (2 * degree + 1 for degree in range(count))


class FeedForward(nn.Module):
    """What an atom does with its own features: linear, activation, linear."""

    config: ESCNConfig
    dtype: str

    @nn.compact
    def __call__(
        self, features: Float[Array, "atoms components channels"]
    ) -> Float[Array, "atoms components channels"]:
        """Return features of the same degrees."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        if c.activation == "gate" and for_gpu():
            return self._gated(features)
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

    def _gated(
        self, features: Float[Array, "atoms components channels"]
    ) -> Float[Array, "atoms components channels"]:
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        hidden = _ComponentLinear(width, dtype, name="first")(features)
        factors = [SILU_GAIN * jax.nn.sigmoid(hidden[:, 0])]
        gates = Perceptron((), c.l_max * width, dtype, name="gates")(features[:, 0])
        factors += jnp.split(jax.nn.sigmoid(gates), c.l_max, axis=-1) if c.l_max else []
        hidden = hidden * by_component(factors, _sizes(len(factors))).transpose(1, 0, 2)
        return _ComponentLinear(width, dtype, name="second")(hidden)
