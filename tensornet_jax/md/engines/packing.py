"""A tree of arrays as one vector.

What a loop carries costs a GPU a kernel, and often a copy, for each array. Packed, all of it is
written by one.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, PyTree

TreeT = TypeVar("TreeT", bound=PyTree[Array])


@dataclass(frozen=True)
class Packing(Generic[TreeT]):
    """Where each array of a tree lies in a vector; hashable, and fixed when it is compiled.

    tree: the structure of the tree.
    shapes: of its arrays.
    dtypes: of its arrays, by name.
    dtype: of the floating-point numbers.
    """

    tree: Hashable
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    dtype: str

    @classmethod
    def of(cls, like: TreeT, dtype: DTypeLike) -> "Packing[TreeT]":
        """Lay out a tree.

        Args:
            like: a tree of arrays: of floating-point numbers of one dtype, of flags, or of 32-bit
                integers.
            dtype: of the floating-point numbers.
        """
        leaves, tree = jax.tree.flatten(like)
        shapes = tuple(tuple(leaf.shape) for leaf in leaves)
        return cls(tree, shapes, tuple(str(leaf.dtype) for leaf in leaves), str(jnp.dtype(dtype)))

    @property
    def _bits(self) -> DTypeLike:
        # Integers travel as the bits of floating-point numbers, with which nothing is computed.
        return jnp.int32 if self.dtype == "float32" else jnp.int64

    def pack(self, tree: TreeT) -> Float[Array, " numbers"]:
        """Return the numbers of a tree that has the same shapes."""

        def flat(leaf: Array) -> Array:
            if leaf.dtype == self.dtype:
                return leaf.ravel()
            bits = leaf.ravel().astype(self._bits)
            return lax.bitcast_convert_type(bits, jnp.dtype(self.dtype))

        return jnp.concatenate([flat(leaf) for leaf in jax.tree.leaves(tree)])

    def unpack(self, numbers: Float[Array, " numbers"]) -> TreeT:
        """Return the tree."""
        begin, leaves = 0, []
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            size = math.prod(shape)
            values = numbers[begin : begin + size].reshape(shape)
            begin += size
            if dtype != self.dtype:
                values = lax.bitcast_convert_type(values, self._bits).astype(dtype)
            leaves.append(values)
        return jax.tree.unflatten(self.tree, leaves)
