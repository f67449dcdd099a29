"""The linear maps of TensorNet's tensors and radial functions, and the products of tensors."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.layers import torch_uniform
from tensornet_jax.ops.cartesian import RankTwo, Tensor, anticommutator, matmul, squared_norm
from tensornet_jax.ops.kernels.channel_blocks import can_be_split
from tensornet_jax.ops.kernels.choice import choose, for_gpu
from tensornet_jax.ops.kernels.degree_linear import degree_linear, degree_linear_beside
from tensornet_jax.ops.linear import by_component
from tensornet_jax.ops.messages.message import Parts, split_parts

FEW = 1024
"""Atoms up to which a kernel mixes channels; larger products are what libraries are best at."""

Result = TypeVar("Result")


class Mixing(nn.Module):
    """A linear map of the channels of I, A and S, each with its own matrix and no bias."""

    num_channels: int
    dtype: str

    def setup(self) -> None:
        """Create the three matrices."""
        width = self.num_channels
        self.parts = [Matrix(width, width, self.dtype, False) for _ in range(3)]

    def __call__(self, tensor: RankTwo) -> RankTwo:
        """(N, d, F) → (N, d, F), part by part."""
        return RankTwo(*self._chosen(_mixed, _mixed_by_part, tensor))

    def beside(self, tensor: RankTwo) -> tuple[RankTwo, RankTwo]:
        """Return the tensor, for whoever needs it too, and what the map makes of it."""
        given, mixed = self._chosen(degree_linear_beside, _beside_by_part, tensor)
        return RankTwo(*given), RankTwo(*mixed)

    def _chosen(
        self, kernel: Callable[..., Result], plain: Callable[..., Result], tensor: RankTwo
    ) -> Result:
        matrices = tuple(layer.matrix() for layer in self.parts)
        few = for_gpu(*tensor) and tensor.scalar.shape[0] <= FEW
        fits = few and can_be_split(*tensor, *matrices)
        return choose(kernel, plain, tuple(tensor), matrices, fits=fits)


def _mixed(parts: Parts, matrices: Parts, *, interpret: bool) -> Parts:
    return degree_linear(parts, matrices, None, interpret=interpret)


def _mixed_by_part(parts: Parts, matrices: Parts) -> Parts:
    if not for_gpu():
        return tuple(x @ matrix for matrix, x in zip(matrices, parts, strict=True))
    # One product, a matrix for each component, in one kernel instead of three.
    sizes = [part.shape[1] for part in parts]
    each = by_component(matrices, sizes)
    return split_parts(jnp.einsum("ncf,cfg->ncg", jnp.concatenate(parts, axis=1), each), sizes)


def _beside_by_part(parts: Parts, matrices: Parts) -> tuple[Parts, Parts]:
    return parts, _mixed_by_part(parts, matrices)


def normalized(tensor: Tensor) -> Tensor:
    """X / (‖X‖² + 1), before channels mix."""
    return tensor.scaled(1 / (squared_norm(tensor) + 1))


def normalized_product(
    group: Literal["O(3)", "SO(3)"],
    tensor: Tensor,
    message: Tensor,
    own: Sequence[Array] | None,
    charge_factor: Array | None,
) -> Tensor:
    """The product of tensors and messages, normalized (Eq. 12).

    Args:
        group: O(3): Y M + M Y; SO(3): 2 Y M.
        tensor: Y.
        message: M without what an atom sends itself.
        own: filters of I, A and S of the edge from an atom to itself, if there is one.
        charge_factor: multiplies the product in O(3).
    """
    if own is not None:
        message = message + tensor.scaled_by_part(own)
    if group == "O(3)":
        product = anticommutator(tensor, message)
        if charge_factor is not None:
            product = product.scaled(charge_factor)
    else:
        product = matmul(tensor, message).scaled(2.0)
    return normalized(product)


def updated(tensor: Tensor, update: Tensor, charge_factor: Array | None) -> Tensor:
    """X + ΔX + ΔX ΔX, the square times a factor if there is one (Eq. 13)."""
    # ΔX ΔX is half an anticommutator, the product that is at hand already.
    square = anticommutator(update, update).scaled(0.5)
    if charge_factor is not None:
        square = square.scaled(charge_factor)
    return tensor + update + square


class Matrix(nn.Module):
    """A learned matrix; with a bias, that is its last row.

    rows: numbers that come in, without the one that a bias meets.
    columns: numbers that come out.
    """

    rows: int
    columns: int
    dtype: str
    use_bias: bool

    @nn.compact
    def matrix(self) -> Float[Array, "rows columns"]:
        """Return a row for each number that comes in and, with a bias, one more."""
        init, shape = torch_uniform(self.rows), (self.rows, self.columns)
        kernel = self.param("kernel", init, shape, self.dtype)
        if not self.use_bias:
            return kernel
        return jnp.concatenate([kernel, self.param("bias", init, shape[1:], self.dtype)[None]])
