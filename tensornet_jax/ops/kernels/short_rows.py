"""Rows within kernels, where arrays are powers of two, of arrays whose rows are shorter."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.kernels.launch import Ref


def read_row(ref: Ref, place: tuple[Array | int, ...], length: int) -> Float[Array, " length"]:
    """Return a row along the last axis, with zeros up to a length.

    Args:
        ref: array.
        place: which row.
        length: a power of two, not less than the row's.
    """
    import jax.experimental.pallas.triton as plgpu

    size = ref.shape[-1]
    columns = jnp.arange(length, dtype=jnp.int32)
    if size == length:
        return ref[(*place, columns)]
    return plgpu.load(ref.at[(*place, columns)], mask=columns < size, other=0)


def write_row(ref: Ref, place: tuple[Array | int, ...], values: Float[Array, " length"]) -> None:
    """Write the first numbers of `values` to a row along the last axis, as many as it has."""
    import jax.experimental.pallas.triton as plgpu

    size = ref.shape[-1]
    columns = jnp.arange(values.shape[0], dtype=jnp.int32)
    plgpu.store(ref.at[(*place, columns)], values, mask=columns < size)


def read_rows(
    ref: Ref, first: int, length: int, begin: Array, width: int
) -> Float[Array, "length width"]:
    """Return some columns of a matrix, with rows of zeros up to a length.

    Args:
        ref: (matrices, rows, columns).
        first: number of the matrix.
        length: a power of two, not less than its rows.
        begin: first of the columns.
        width: how many.
    """
    import jax.experimental.pallas.triton as plgpu

    rows = jnp.arange(length, dtype=jnp.int32)[:, None]
    columns = begin.astype(jnp.int32) + jnp.arange(width, dtype=jnp.int32)[None]
    mask = jnp.broadcast_to(rows < ref.shape[1], (length, width))
    return plgpu.load(ref.at[first, rows, columns], mask=mask, other=0)
