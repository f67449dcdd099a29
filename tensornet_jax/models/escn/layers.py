"""What eSCN's atoms do by themselves between the messages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.models.layers import SILU_GAIN, Perceptron
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.ops.harmonics.degrees import Degrees
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
    def __call__(
        self, features: Float[Array, "atoms components channels"]
    ) -> Float[Array, "atoms components channels"]:
        """Return features of the same degrees."""
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
