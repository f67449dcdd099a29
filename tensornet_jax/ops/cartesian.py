"""The algebra of Cartesian rank-2 tensors in their compact 1 + 3 + 5 form.

A 3×3 tensor X splits under rotation into I = (tr X / 3)·Id, A = (X − Xᵀ)/2 and
S = (X + Xᵀ)/2 − I (Eq. 1, arXiv:2306.06482). Nine numbers hold them all, against 27 for three full
matrices. They are coordinates in an *orthonormal* basis of the 3×3 matrices,

    scalar   √3 · tr X / 3
    vector   √2 · a with A = skew(a) = [[0, −a_z, a_y], [a_z, 0, −a_x], [−a_y, a_x, 0]]
    deviator √2 · (S_xy, S_xz, S_yz), (S_xx − S_yy)/√2, √(3/2) · S_zz

so that the Frobenius product of two tensors is the dot product of their coordinates. Two things
follow: norms are sums of squares, and the derivative of a matrix product is a matrix product of
the same kind. The products below carry that rule, and stay one fused loop at any order of
differentiation.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

_ROOT_2 = 2**0.5
_ROOT_3 = 3**0.5
_ROOT_6 = 6**0.5
_ROOT_HALF = 0.5**0.5
_ROOT_2_3 = (2 / 3) ** 0.5


class RankTwo(NamedTuple):
    """A field of 3×3 tensors by irreducible part; the last axis counts channels.

    scalar: (..., 1, F) coordinate along Id.
    vector: (..., 3, F) coordinates of the antisymmetric part.
    deviator: (..., 5, F) coordinates of the symmetric traceless part.
    """

    scalar: Float[Array, "*batch 1 channels"]
    vector: Float[Array, "*batch 3 channels"]
    deviator: Float[Array, "*batch 5 channels"]

    def __add__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: "RankTwo"
    ) -> "RankTwo":
        """Sum of the tensors, not the concatenation that tuples have."""
        return RankTwo(*(a + b for a, b in zip(self, other, strict=True)))

    def scaled(self, factor: Float[Array, "..."] | float) -> "RankTwo":
        """All parts times one factor, (..., 1, F) or broadcastable to it."""
        return RankTwo(*(part * factor for part in self))

    def scaled_by_part(self, factors: Sequence[Float[Array, "..."]]) -> "RankTwo":
        """Each part times its own factor, (..., 1, F) or broadcastable to it, for I, A, S."""
        return RankTwo(*(part * factor for part, factor in zip(self, factors, strict=True)))

    @property
    def transposed(self) -> "RankTwo":
        """The matrix transposes."""
        return self._replace(vector=-self.vector)


def squared_norms(tensor: RankTwo) -> Float[Array, "*batch 3 channels"]:
    """‖I‖², ‖A‖², ‖S‖² (squared Frobenius norms) as (..., 3, F)."""
    return jnp.concatenate([jnp.sum(part**2, axis=-2, keepdims=True) for part in tensor], axis=-2)


def squared_norm(tensor: RankTwo) -> Float[Array, "*batch 1 channels"]:
    """‖X‖² = ‖I‖² + ‖A‖² + ‖S‖², (..., 1, F): the parts are orthogonal."""
    scalar, vector, deviator = (jnp.sum(part**2, axis=-2, keepdims=True) for part in tensor)
    return scalar + vector + deviator


def parts_of_unit_vectors(
    unit: Float[Array, "*batch 3"],
) -> tuple[Float[Array, "*batch 1"], Float[Array, "*batch 3"], Float[Array, "*batch 5"]]:
    """Coordinates of Id, skew(r̂) and r̂ r̂ᵀ − Id/3.

    Args:
        unit: (..., 3) unit vectors r̂; for the zero vector only Id remains.

    Returns:
        (..., 1), (..., 3) and (..., 5).
    """
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    deviator = [
        _ROOT_2 * x * y,
        _ROOT_2 * x * z,
        _ROOT_2 * y * z,
        (x * x - y * y) / _ROOT_2,
        (2 * z * z - x * x - y * y) / _ROOT_6,
    ]
    identity = jnp.full((*unit.shape[:-1], 1), _ROOT_3, unit.dtype)
    return identity, _ROOT_2 * unit, jnp.stack(deviator, axis=-1)


def to_matrix(tensor: RankTwo) -> Float[Array, "*batch 3 3 channels"]:
    """Full tensors (..., 3, 3, F)."""
    return jnp.stack([jnp.stack(row, axis=-2) for row in _entries(tensor)], axis=-3)


def from_matrix(matrix: Float[Array, "*batch 3 3 channels"]) -> RankTwo:
    """Compact form of full tensors (..., 3, 3, F)."""
    return _compact([[matrix[..., i, j, :] for j in range(3)] for i in range(3)])


@jax.custom_vjp
def matmul(a: RankTwo, b: RankTwo) -> RankTwo:
    """The matrix product a b, channel by channel."""
    x, y = _entries(a), _entries(b)
    return _compact(
        [[sum(x[i][k] * y[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    )


@jax.custom_vjp
def anticommutator(a: RankTwo, b: RankTwo) -> RankTwo:
    """The matrix products a b + b a: what keeps parity in TensorNet's O(3) interaction."""
    x, y = _entries(a), _entries(b)
    return _compact(
        [
            [sum(x[i][k] * y[k][j] + y[i][k] * x[k][j] for k in range(3)) for j in range(3)]
            for i in range(3)
        ]
    )


def _keep(product):
    return lambda a, b: (product(a, b), (a, b))


# ⟨C, a b⟩ = ⟨C bᵀ, a⟩ = ⟨aᵀ C, b⟩ in the Frobenius product, and alike for a b + b a.
matmul.defvjp(
    _keep(matmul), lambda ab, c: (matmul(c, ab[1].transposed), matmul(ab[0].transposed, c))
)
anticommutator.defvjp(
    _keep(anticommutator),
    lambda ab, c: (anticommutator(c, ab[1].transposed), anticommutator(c, ab[0].transposed)),
)


def _components(part: Array) -> list[Array]:
    # A split differentiates to one concatenation, a slice to a padded array for each component.
    axis = part.ndim - 2
    return [x.squeeze(axis) for x in lax.split(part, (1,) * part.shape[axis], axis=axis)]


def _entries(tensor: RankTwo) -> list[list[Array]]:
    # Nine arrays (..., F) rather than one (..., 3, 3, F): the channel axis stays the contiguous,
    # vectorized one, and XLA fuses a whole product into one loop without a 3×3 intermediate.
    t = tensor.scalar.squeeze(-2) * (1 / _ROOT_3)
    ax, ay, az = _components(tensor.vector * _ROOT_HALF)
    deviator = _components(tensor.deviator)
    xy, xz, yz, half = (x * _ROOT_HALF for x in deviator[:4])
    zz = deviator[4] * _ROOT_2_3
    return [
        [t + half - 0.5 * zz, xy - az, xz + ay],
        [xy + az, t - half - 0.5 * zz, yz - ax],
        [xz - ay, yz + ax, t + zz],
    ]


def _compact(m) -> RankTwo:
    vector = [
        (m[2][1] - m[1][2]) * _ROOT_HALF,
        (m[0][2] - m[2][0]) * _ROOT_HALF,
        (m[1][0] - m[0][1]) * _ROOT_HALF,
    ]
    deviator = [
        (m[0][1] + m[1][0]) * _ROOT_HALF,
        (m[0][2] + m[2][0]) * _ROOT_HALF,
        (m[1][2] + m[2][1]) * _ROOT_HALF,
        (m[0][0] - m[1][1]) * _ROOT_HALF,
        (2 * m[2][2] - m[0][0] - m[1][1]) * (1 / _ROOT_6),
    ]
    scalar = (m[0][0] + m[1][1] + m[2][2]) * (1 / _ROOT_3)
    # Without the barrier XLA's CPU compiler fuses the arithmetic into the concatenation, whose
    # loop then branches at every element and cannot be vectorized: ten times slower.
    scalar, vector, deviator = lax.optimization_barrier((scalar, vector, deviator))
    return RankTwo(scalar[..., None, :], jnp.stack(vector, axis=-2), jnp.stack(deviator, axis=-2))
