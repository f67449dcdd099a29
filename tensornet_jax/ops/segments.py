"""Sums over the atoms of each structure."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.ops.kernels.choice import for_gpu

# Comparisons of atoms with structures, beyond which a scatter costs a GPU less.
_MOST_COMPARISONS = 2**26


def sum_of_segments(
    values: Float[Array, "atoms ..."], segments: Int[Array, " atoms"], num_segments: int
) -> Float[Array, "segments ..."]:
    """Sum rows by the segments that they belong to, the same way every time.

    Args:
        values: (N, ...).
        segments: (N,) in rising order.
        num_segments: how many there are.

    Returns:
        (num_segments, ...).
    """
    few = isinstance(num_segments, int) and num_segments * values.shape[0] <= _MOST_COMPARISONS
    if not (few and for_gpu(values)):
        return jax.ops.segment_sum(values, segments, num_segments, indices_are_sorted=True)
    # A GPU's scatter adds by atomics, whose order is that of a race, after a kernel that zeroes.
    numbers = jnp.arange(num_segments, dtype=segments.dtype)
    member = (segments[None] == numbers[:, None]).reshape(
        num_segments, -1, *(1,) * (values.ndim - 1)
    )
    return jnp.sum(jnp.where(member, values[None], 0), axis=1)
