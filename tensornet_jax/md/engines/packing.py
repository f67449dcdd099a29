"""A tree of arrays as one vector.

What a loop carries costs a GPU a kernel, and often a copy, for each array. Packed, all of it is
written by one.
"""

from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, PyTree

TreeT = TypeVar("TreeT", bound=PyTree[Array])


class Packing(Generic[TreeT]):
    """Where each array of a tree lies in a vector."""

    def __init__(self, like: TreeT, dtype: DTypeLike) -> None:
        """Lay out a tree.

        Args:
            like: a tree of arrays: of floating-point numbers of one dtype, of flags, or of 32-bit
                integers.
            dtype: of the floating-point numbers.
        """
        leaves, self._tree = jax.tree.flatten(like)
        self._leaves = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        self._dtype = jnp.dtype(dtype)
        # Integers travel as the bits of floating-point numbers, with which nothing is computed.
        self._bits = jnp.int32 if self._dtype.itemsize == 4 else jnp.int64

    def pack(self, tree: TreeT) -> Float[Array, " numbers"]:
        """Return the numbers of a tree that has the same shapes."""

        def flat(leaf: Array) -> Array:
            if leaf.dtype == self._dtype:
                return leaf.ravel()
            bits = leaf.ravel().astype(self._bits)
            return lax.bitcast_convert_type(bits, self._dtype)

        return jnp.concatenate([flat(leaf) for leaf in jax.tree.leaves(tree)])

    def unpack(self, numbers: Float[Array, " numbers"]) -> TreeT:
        """Return the tree."""
        begin, leaves = 0, []
        for like in self._leaves:
            values = numbers[begin : begin + like.size].reshape(like.shape)
            begin += like.size
            if like.dtype != self._dtype:
                values = lax.bitcast_convert_type(values, self._bits).astype(like.dtype)
            leaves.append(values)
        return jax.tree.unflatten(self._tree, leaves)
