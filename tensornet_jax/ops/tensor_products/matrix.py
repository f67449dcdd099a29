"""The matrix product: irreps as square matrices, multiplied as matrices."""

from dataclasses import dataclass, field
from functools import cache
from math import sqrt

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, wigner_6j
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.protocol import DegreeWeightedProduct


@dataclass(frozen=True)
class MatrixProduct(DegreeWeightedProduct):
    """The product of irreps embedded as matrices: TensorNet's (arXiv:2306.06482) at any degree.

    The operators on the 2ℓ+1 functions of one degree ℓ, the carrier, split into the degrees
    0 … 2ℓ: ℓ ⊗ ℓ = 0 ⊕ … ⊕ 2ℓ. Features become X = Σ_lm x_lm √(2l+1) C(ℓ, ℓ, l)_··m, an
    orthonormal basis of the (2ℓ+1)×(2ℓ+1) matrices, symmetric for even l and antisymmetric for
    odd l. The product is X Y, read back in that basis. For ℓ = 1 these are TensorNet's 3×3
    matrices, and l = 0, 1, 2 its I, A and S.

    On a path this is (−1)^l3 √((2l1+1)(2l2+1)(2l3+1)) {l1 l2 l3; ℓ ℓ ℓ} times the Clebsch–Gordan
    coefficients, a 6j symbol. It has even and odd sums l1 + l2 + l3. Transposing X Y shows that
    ½(XY + YX) is the part with even sums, TensorNet's O(3) form, and ½(XY − YX) the part with odd
    sums. A few 6j symbols are zero by accident, and their paths are missing: for ℓ = 3 those with
    the degrees 3, 5, 5, for ℓ = 4 with 5, 6, 7, for ℓ = 5 with 4, 9, 9 and for ℓ = 6 with 3, 5, 6.
    Another carrier has them.

    Attributes:
        carrier: the degree ℓ; None for the smallest that holds every degree, half the highest of
            l1_max, l2_max, l3_max, rounded up.
    """

    carrier: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.carrier is not None and self.carrier < self._smallest_carrier:
            raise ValueError(
                f"carrier {self.carrier} holds degrees to {2 * self.carrier}, and "
                f"{max(self.l1_max, self.l2_max, self.l3_max)} is needed: "
                f"use at least {self._smallest_carrier}, or None"
            )
        super().__post_init__()

    @property
    def _smallest_carrier(self) -> int:
        return -(-max(self.l1_max, self.l2_max, self.l3_max) // 2)

    @property
    def carrier_degree(self) -> int:
        """The degree ℓ of the functions on which the matrices act."""
        return self._smallest_carrier if self.carrier is None else self.carrier

    def path_coefficient(self, l1: int, l2: int, l3: int) -> float:
        """(−1)^l3 √((2l1+1)(2l2+1)(2l3+1)) {l1 l2 l3; ℓ ℓ ℓ}."""
        carrier = self.carrier_degree
        sign = -1 if l3 % 2 else 1
        dimensions = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
        return sign * sqrt(dimensions) * wigner_6j(l1, l2, l3, carrier, carrier, carrier)

    def _contract(self, x: Array, y: Array) -> Array:
        dtype = jnp.result_type(x, y, float)
        first, second, third = (
            jnp.asarray(_embedding(self.carrier_degree, degrees) * factors, dtype)
            for degrees, factors in zip(self.degrees, self.normalization_factors(), strict=True)
        )
        rank = max(x.ndim, y.ndim)
        of_x, of_y = (
            _matrices(basis, features.reshape((1,) * (rank - features.ndim) + features.shape))
            for basis, features in ((first, x), (second, y))
        )
        if self.parity == "both":
            product = _multiply(of_x, of_y)
        else:
            sign = 1 if self.parity == "even" else -1
            product = (_multiply(of_x, of_y) + sign * _multiply(of_y, of_x)) / 2
        return jnp.einsum("ijs,ij...->...s", third, product, precision=lax.Precision.HIGHEST)


def _matrices(basis: Array, features: Array) -> Array:
    """Matrices (2ℓ+1, 2ℓ+1, ...) of features (..., size)."""
    return jnp.einsum("ijs,...s->ij...", basis, features, precision=lax.Precision.HIGHEST)


def _multiply(left: Array, right: Array) -> Array:
    """Products of matrices (2ℓ+1, 2ℓ+1, ...).

    With the matrix indices first and the samples last, and written as a sum of broadcast products,
    it is one vectorized loop in XLA, and so are its derivatives, which have the same form. A
    batched `dot_general` of such small matrices is three to fifteen times slower on a CPU.
    """
    return jnp.sum(left[:, :, None] * right[None], axis=1)


@cache
def _embedding(carrier: int, degrees: Degrees) -> np.ndarray:
    """The basis √(2l+1) C(ℓ, ℓ, l), (2ℓ+1, 2ℓ+1, size of degrees)."""
    basis = np.concatenate(
        [sqrt(2 * degree + 1) * clebsch_gordan(carrier, carrier, degree) for degree in degrees],
        axis=-1,
    )
    basis.setflags(write=False)
    return basis
