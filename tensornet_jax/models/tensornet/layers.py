"""The linear maps of TensorNet's tensors and radial functions."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.layers import dense, torch_uniform
from tensornet_jax.ops.cartesian import RankTwo


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
    def matrix(self) -> Float[Array, "radial channels"]:
        """Return a row for each radial function and, with a bias, one more."""
        init, shape = torch_uniform(self.num_radial), (self.num_radial, self.num_channels)
        kernel = self.param("kernel", init, shape, self.dtype)
        if not self.use_bias:
            return kernel
        return jnp.concatenate([kernel, self.param("bias", init, shape[1:], self.dtype)[None]])
