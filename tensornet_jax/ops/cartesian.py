"""The algebra of Cartesian rank-2 tensors in their compact 1 + 3 + 5 form.

A 3×3 tensor X splits under rotation into I = (tr X / 3)·Id, A = (X − Xᵀ)/2 and
S = (X + Xᵀ)/2 − I (Eq. 1, arXiv:2306.06482). Nine numbers hold them all, against 27 for three full
matrices: t = tr X / 3; the vector a with A = skew(a); and S_xx, S_yy, S_xy, S_xz, S_yz.

    skew(a) = [[0, −a_z, a_y], [a_z, 0, −a_x], [−a_y, a_x, 0]]
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class RankTwo(NamedTuple):
    """A field of 3×3 tensors by irreducible part; the last axis counts channels.

    scalar: (..., 1, F) tr X / 3.
    vector: (..., 3, F) axial vector of the antisymmetric part.
    deviator: (..., 5, F) xx, yy, xy, xz, yz of the symmetric traceless part.
    """

    scalar: Array
    vector: Array
    deviator: Array

    def __add__(self, other: "RankTwo") -> "RankTwo":  # type: ignore[override]
        """Sum of the tensors, not the concatenation that tuples have."""
        return RankTwo(*(a + b for a, b in zip(self, other, strict=True)))

    def scaled(self, factor: Array) -> "RankTwo":
        """All parts times one factor (..., 1, F) or broadcastable to it."""
        return RankTwo(*(part * factor for part in self))

    def scaled_by_part(self, factors: Array) -> "RankTwo":
        """Each part times its own factor; factors: (..., 3, F) for I, A, S."""
        return RankTwo(*(part * factors[..., k : k + 1, :] for k, part in enumerate(self)))


def squared_norms(tensor: RankTwo) -> Array:
    """‖I‖², ‖A‖², ‖S‖² (squared Frobenius norms) as (..., 3, F)."""
    sxx, syy, sxy, sxz, syz = (tensor.deviator[..., k, :] for k in range(5))
    szz = -(sxx + syy)
    scalar = 3 * tensor.scalar[..., 0, :] ** 2
    vector = 2 * jnp.sum(tensor.vector**2, axis=-2)
    deviator = sxx**2 + syy**2 + szz**2 + 2 * (sxy**2 + sxz**2 + syz**2)
    return jnp.stack([scalar, vector, deviator], axis=-2)


def squared_norm(tensor: RankTwo) -> Array:
    """‖X‖² = ‖I‖² + ‖A‖² + ‖S‖², (..., 1, F): the parts are orthogonal."""
    return jnp.sum(squared_norms(tensor), axis=-2, keepdims=True)


def deviator_of_unit_vectors(unit: Array) -> Array:
    """Compact form of r̂ r̂ᵀ − Id/3: (..., 3) → (..., 5); zero for the zero vector."""
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    third = (x * x + y * y + z * z) / 3
    return jnp.stack([x * x - third, y * y - third, x * y, x * z, y * z], axis=-1)


def to_matrix(tensor: RankTwo) -> Array:
    """Full tensors (..., 3, 3, F)."""
    rows = _entries(tensor)
    return jnp.stack([jnp.stack(row, axis=-2) for row in rows], axis=-3)


def from_matrix(matrix: Array) -> RankTwo:
    """Compact form of full tensors (..., 3, 3, F)."""
    return _compact([[matrix[..., i, j, :] for j in range(3)] for i in range(3)])


def matmul(a: RankTwo, b: RankTwo) -> RankTwo:
    """The matrix product a b, channel by channel."""
    x, y = _entries(a), _entries(b)
    return _compact(
        [[sum(x[i][k] * y[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    )


def anticommutator(a: RankTwo, b: RankTwo) -> RankTwo:
    """The matrix products a b + b a: what keeps parity in TensorNet's O(3) interaction."""
    x, y = _entries(a), _entries(b)
    return _compact(
        [
            [sum(x[i][k] * y[k][j] + y[i][k] * x[k][j] for k in range(3)) for j in range(3)]
            for i in range(3)
        ]
    )


def _entries(tensor: RankTwo) -> list[list[Array]]:
    # Nine arrays (..., F) rather than one (..., 3, 3, F): the channel axis stays the contiguous,
    # vectorised one, and XLA fuses a whole product into one loop without a 3×3 intermediate.
    t = tensor.scalar[..., 0, :]
    ax, ay, az = (tensor.vector[..., k, :] for k in range(3))
    sxx, syy, sxy, sxz, syz = (tensor.deviator[..., k, :] for k in range(5))
    return [
        [t + sxx, sxy - az, sxz + ay],
        [sxy + az, t + syy, syz - ax],
        [sxz - ay, syz + ax, t - sxx - syy],
    ]


def _compact(m) -> RankTwo:
    trace = (m[0][0] + m[1][1] + m[2][2]) / 3
    vector = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]]
    deviator = [
        m[0][0] - trace,
        m[1][1] - trace,
        0.5 * (m[0][1] + m[1][0]),
        0.5 * (m[0][2] + m[2][0]),
        0.5 * (m[1][2] + m[2][1]),
    ]
    return RankTwo(
        trace[..., None, :],
        0.5 * jnp.stack(vector, axis=-2),
        jnp.stack(deviator, axis=-2),
    )
