"""Bilinear maps z_c = Σ_ab T_abc x_a y_b with a constant T, in three forms.

Both derivatives of such a map are maps of the same kind with the axes of T permuted. Two of the
forms state that rule, so that every order of differentiation runs in the form that is fast
forwards: reverse mode by itself would scatter where `terms` gathers, and where `matrices` builds a
matrix a sample it would sum over the long side of an outer product, which took twice the time at
degree 6 on CPUs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from tensornet_jax.ops.linear import transform

# Bytes of intermediate matrices at a time: what stays in the caches of a CPU core, and what keeps
# a GPU busy without filling its memory.
_CHUNK_ON_CPU = 2**22
_CHUNK_ELSEWHERE = 2**28


@dataclass(frozen=True, eq=False)
class BilinearMap:
    """A constant tensor T, (size of x, size of y, size of z), and how to contract it.

    Attributes:
        tensor: T in float64.
        kernel: ``matrices``: y times T gives a matrix a sample, which acts on x. ``outer``: the
            outer product of x and y times T. ``terms``: a sum over the non-zero entries of T.
    """

    tensor: Float[np.ndarray, "x y z"]
    kernel: Literal["matrices", "outer", "terms"] = "matrices"

    def __call__(
        self, x: Float[ArrayLike, "... x"], y: Float[ArrayLike, "... y"]
    ) -> Float[Array, "... z"]:
        """Contract x (..., size of x) with y (..., size of y) to (..., size of z).

        Leading axes broadcast. Where y is shared by the last leading axis of x (an edge's filter
        by its channels) its matrix is made once.
        """
        dtype = jnp.result_type(x, y)
        x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
        if self.kernel != "terms":
            if _is_shared(y, x):
                return _share(self, x, y)
            if _is_shared(x, y):
                return _share(self.swapped, y, x)
        leading = jnp.broadcast_shapes(x.shape[:-1], y.shape[:-1])
        x = jnp.broadcast_to(x, (*leading, x.shape[-1])).reshape(-1, x.shape[-1])
        y = jnp.broadcast_to(y, (*leading, y.shape[-1])).reshape(-1, y.shape[-1])
        z = _outer_product(self, x, y) if self.kernel == "outer" else _contract(self, x, y)
        return jnp.reshape(z, (*leading, self.tensor.shape[2]))

    @cached_property
    def matrix(self) -> Float[np.ndarray, "y x*z"]:
        """T as the matrix that takes y to a matrix acting on x, (size of y, sizes of x · z)."""
        return np.reshape(self.tensor.transpose(1, 0, 2), (self.tensor.shape[1], -1))

    @cached_property
    def swapped(self) -> "BilinearMap":
        """The same map with its arguments exchanged."""
        return BilinearMap(self.tensor.transpose(1, 0, 2), self.kernel)

    @cached_property
    def for_x(self) -> "BilinearMap":
        """The map (cotangent of z, y) → cotangent of x."""
        return BilinearMap(self.tensor.transpose(2, 1, 0), self.kernel)

    @cached_property
    def for_y(self) -> "BilinearMap":
        """The map (x, cotangent of z) → cotangent of y."""
        return BilinearMap(self.tensor.transpose(0, 2, 1), self.kernel)

    @cached_property
    def terms(
        self,
    ) -> tuple[
        Int[np.ndarray, "terms z"], Int[np.ndarray, "terms z"], Float[np.ndarray, "terms z"]
    ]:
        """Non-zero entries as a table: a (K, size of z), b (K, size of z) and T (K, size of z).

        K is the largest number of terms of one z; the others are filled up with zeros.
        """
        c, a, b = np.nonzero(self.tensor.transpose(2, 0, 1))
        counts = np.bincount(c, minlength=self.tensor.shape[2])
        row = np.arange(c.size) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (int(counts.max()), self.tensor.shape[2])
        first, second, values = np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape)
        first[row, c], second[row, c], values[row, c] = a, b, self.tensor[a, b, c]
        return first, second, values


def _is_shared(y: Array, x: Array) -> bool:
    """Whether y has one value where x has a last leading axis of many."""
    return (
        x.ndim == y.ndim
        and x.ndim > 1
        and y.shape[-2] == 1 < x.shape[-2]
        and x.shape[:-2] == y.shape[:-2]
    )


def _share(bilinear: BilinearMap, x: Array, y: Array) -> Array:
    """The contraction where one y (..., 1, size) meets many x (..., C, size)."""
    size_x, _, size_z = bilinear.tensor.shape
    matrices = transform(y[..., 0, :], bilinear.matrix)
    matrices = matrices.reshape(*y.shape[:-2], size_x, size_z)
    return jnp.matmul(x, matrices, precision=lax.Precision.HIGHEST)


def _contract_samples(bilinear: BilinearMap, x: Array, y: Array) -> Array:
    """The contraction of x (N, size) and y (N, size)."""
    apply = _sum_terms if bilinear.kernel == "terms" else _apply_matrices
    return apply(bilinear, x, y)


def _contract_forward(bilinear: BilinearMap, x: Array, y: Array):
    return _contract(bilinear, x, y), (x, y)


def _contract_backward(bilinear: BilinearMap, inputs: tuple[Array, Array], cotangent: Array):
    x, y = inputs
    return _contract(bilinear.for_x, cotangent, y), _contract(bilinear.for_y, x, cotangent)


_contract = jax.custom_vjp(_contract_samples, nondiff_argnums=(0,))
_contract.defvjp(_contract_forward, _contract_backward)


def _apply_matrices(bilinear: BilinearMap, x: Array, y: Array) -> Array:
    """Two steps: y times T gives a matrix a sample, and that matrix acts on x."""
    size_x, _, size_z = bilinear.tensor.shape

    def apply(x: Array, y: Array) -> Array:
        matrices = transform(y, bilinear.matrix).reshape(-1, size_x, size_z)
        return jnp.einsum("na,nac->nc", x, matrices, precision=lax.Precision.HIGHEST)

    return _in_chunks(apply, x, y, numbers=size_x * size_z)


def _sum_terms(bilinear: BilinearMap, x: Array, y: Array) -> Array:
    """Term by term of each z, the samples in the fast axis."""
    first, second, values = bilinear.terms
    table = jnp.asarray(first), jnp.asarray(second), jnp.asarray(values, x.dtype)

    def apply(x: Array, y: Array) -> Array:
        x, y = jnp.transpose(x), jnp.transpose(y)

        def add(total: Array, term: tuple[Array, Array, Array]):
            a, b, value = term
            return total + value[:, None] * x[a] * y[b], None

        start = jnp.zeros((values.shape[1], x.shape[1]), x.dtype)
        return lax.scan(add, start, table)[0].T

    return _in_chunks(apply, x, y, numbers=sum(bilinear.tensor.shape))


def _in_chunks(apply: Callable[[Array, Array], Array], x: Array, y: Array, numbers: int) -> Array:
    """Apply a function to some samples at a time, which each need so many numbers of memory."""
    limit = _CHUNK_ON_CPU if jax.default_backend() == "cpu" else _CHUNK_ELSEWHERE
    chunk = max(1, limit // (numbers * x.dtype.itemsize))
    total = x.shape[0]
    if total <= 2 * chunk:
        return apply(x, y)
    whole = total // chunk * chunk
    chunks = tuple(array[:whole].reshape(-1, chunk, array.shape[1]) for array in (x, y))
    z = lax.map(lambda inputs: apply(*inputs), chunks).reshape(whole, -1)
    return z if whole == total else jnp.concatenate([z, apply(x[whole:], y[whole:])])


def _outer_product(bilinear: BilinearMap, x: Array, y: Array) -> Array:
    """The outer product of each sample times T, whose derivatives need no rule."""
    size_x, size_y, size_z = bilinear.tensor.shape
    outer = (x[:, :, None] * y[:, None, :]).reshape(-1, size_x * size_y)
    return transform(outer, bilinear.tensor.reshape(-1, size_z))
