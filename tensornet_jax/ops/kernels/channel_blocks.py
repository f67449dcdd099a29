"""Blocks of channels that one program of a kernel takes."""

import jax.numpy as jnp
from jax import Array

_WIDTHS = (128, 64, 32, 16)


def channel_width(channels: int, widest: int = 64) -> int:
    """Return the channels of a block: of 16, 32 … the most, up to `widest`, that divide all."""
    return next(width for width in _WIDTHS if width <= widest and channels % width == 0)


def rounded_up(count: int) -> int:
    """Return the next power of two, as which arrays within a kernel have to be long."""
    return 1 << (count - 1).bit_length()


def can_be_split(*arrays: Array) -> bool:
    """Tell whether the last axes are whole blocks, and the types one that kernels take."""
    return all(kernels_take(array.shape[-1], *arrays) for array in arrays)


def kernels_take(channels: int, *arrays: Array) -> bool:
    """Tell whether so many channels are whole blocks, and the types one that kernels take."""
    known = arrays[0].dtype in (jnp.float32, jnp.float64)
    return channels % _WIDTHS[-1] == 0 and known and len({array.dtype for array in arrays}) == 1
