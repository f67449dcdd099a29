"""Blocks of channels that one program of a kernel takes."""

from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import Array

# References to arrays in the memory of the GPU, which have no type of their own.
Ref: TypeAlias = Any

_WIDTHS = (64, 32, 16)


def channel_width(channels: int) -> int:
    """Return the channels of a block: of 64, 32 and 16 the most that divide all."""
    return next(width for width in _WIDTHS if channels % width == 0)


def can_be_split(*arrays: Array) -> bool:
    """Tell whether the last axes are whole blocks, and the types one that kernels take."""
    return all(
        array.shape[-1] % _WIDTHS[-1] == 0
        and array.dtype == arrays[0].dtype
        and array.dtype in (jnp.float32, jnp.float64)
        for array in arrays
    )
