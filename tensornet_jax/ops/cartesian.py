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

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar, overload

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels.choice import for_gpu

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

    def plus_scalar(self, added: Float[Array, "..."]) -> "RankTwo":
        """The tensor with something added to the coordinate along Id."""
        return self._replace(scalar=self.scalar + added)

    @property
    def transposed(self) -> "RankTwo":
        """The matrix transposes."""
        return self._replace(vector=-self.vector)


class Components(NamedTuple):
    """One tensor by its components, as kernels know it: arrays over atoms or channels alike.

    What functions do with `RankTwo` they do with it, too: `scaled`, `scaled_by_part`, sums,
    `squared_norm` and the products.
    """

    scalar: tuple[Array, ...]
    vector: tuple[Array, ...]
    deviator: tuple[Array, ...]

    @classmethod
    def of(cls, components: Sequence[Array]) -> "Components":
        """Return the tensor with these nine components."""
        return cls(tuple(components[:1]), tuple(components[1:4]), tuple(components[4:]))

    def __add__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: "Components"
    ) -> "Components":
        """Sum of the tensors."""
        pairs = zip(self, other, strict=True)
        return Components(*(tuple(map(jnp.add, one, two)) for one, two in pairs))

    def scaled(self, factor: Array | float) -> "Components":
        """All components times one factor."""
        return self.scaled_by_part([factor] * 3)

    def scaled_by_part(self, factors: Sequence[Array | float]) -> "Components":
        """Each part times its own factor, for I, A, S."""
        pairs = zip(self, factors, strict=True)
        return Components(*(tuple(x * factor for x in part) for part, factor in pairs))

    def plus_scalar(self, added: Array) -> "Components":
        """The tensor with something added to the coordinate along Id."""
        return self._replace(scalar=(self.scalar[0] + added,))


Numbers = tuple[Array, ...]
Tensor = TypeVar("Tensor", RankTwo, Components)


@overload
def squared_norms(tensor: RankTwo) -> Float[Array, "*batch 3 channels"]: ...
@overload
def squared_norms(tensor: Components) -> Numbers: ...
def squared_norms(tensor: RankTwo | Components) -> Float[Array, "*batch 3 channels"] | Numbers:
    """‖I‖², ‖A‖², ‖S‖² (squared Frobenius norms) as (..., 3, F), of components as three."""
    if isinstance(tensor, Components):
        return tuple(_sum(x * x for x in part) for part in tensor)
    return jnp.concatenate([jnp.sum(part**2, axis=-2, keepdims=True) for part in tensor], axis=-2)


@overload
def squared_norm(tensor: RankTwo) -> Float[Array, "*batch 1 channels"]: ...
@overload
def squared_norm(tensor: Components) -> Array: ...
def squared_norm(tensor: RankTwo | Components) -> Array:
    """‖X‖² = ‖I‖² + ‖A‖² + ‖S‖², (..., 1, F), of components one: the parts are orthogonal."""
    if isinstance(tensor, Components):
        return _sum(x * x for part in tensor for x in part)
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


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a b, channel by channel."""
    if isinstance(a, Components) and isinstance(b, Components):
        return _in_kernel(product_of_entries, a, b)
    return _matmul(a, b)


def anticommutator(a: Tensor, b: Tensor) -> Tensor:
    """The matrix products a b + b a: what keeps parity in TensorNet's O(3) interaction."""
    if isinstance(a, Components) and isinstance(b, Components):
        return _in_kernel(_anticommutator_entries, a, b)
    return _anticommutator(a, b)


Entries = list[list[Array]]
"""Of 3×3 matrices, row by row."""


def _in_kernel(
    product: Callable[[Entries, Entries], Entries], a: Components, b: Components
) -> Components:
    found = product(*(_matrix(t.scalar[0], t.vector, t.deviator) for t in (a, b)))
    scalar, vector, deviator = _parts(found)
    return Components((scalar,), tuple(vector), tuple(deviator))


def product_of_entries(x: Entries, y: Entries) -> Entries:
    """The matrix product of 3×3 matrices by their entries, arrays of any one shape."""
    return [[_sum(x[i][k] * y[k][j] for k in range(3)) for j in range(3)] for i in range(3)]


def _anticommutator_entries(x: Entries, y: Entries) -> Entries:
    return [
        [_sum(x[i][k] * y[k][j] + y[i][k] * x[k][j] for k in range(3)) for j in range(3)]
        for i in range(3)
    ]


def _sum(terms: Iterable[Array]) -> Array:
    first, *others = terms
    return sum(others, first)


@jax.custom_vjp
def _matmul(a: RankTwo, b: RankTwo) -> RankTwo:
    return _compact(product_of_entries(_entries(a), _entries(b)))


@jax.custom_vjp
def _anticommutator(a: RankTwo, b: RankTwo) -> RankTwo:
    return _compact(_anticommutator_entries(_entries(a), _entries(b)))


# ⟨C, a b⟩ = ⟨C bᵀ, a⟩ = ⟨aᵀ C, b⟩ in the Frobenius product, and alike for a b + b a.
_matmul.defvjp(
    keeping_inputs(_matmul),
    lambda ab, c: (_matmul(c, ab[1].transposed), _matmul(ab[0].transposed, c)),
)
_anticommutator.defvjp(
    keeping_inputs(_anticommutator),
    lambda ab, c: (_anticommutator(c, ab[1].transposed), _anticommutator(c, ab[0].transposed)),
)


def _components(part: Array) -> list[Array]:
    # A split differentiates to one concatenation, a slice to a padded array for each component.
    axis = part.ndim - 2
    return [x.squeeze(axis) for x in lax.split(part, (1,) * part.shape[axis], axis=axis)]


def _entries(tensor: RankTwo) -> Entries:
    # Nine arrays (..., F) rather than one (..., 3, 3, F): the channel axis stays the contiguous,
    # vectorized one, and XLA fuses a whole product into one loop without a 3×3 intermediate.
    scalar, vector, deviator = tensor.scalar.squeeze(-2), tensor.vector, tensor.deviator
    return _matrix(scalar, _components(vector), _components(deviator))


def _matrix(scalar: Array, vector: Sequence[Array], deviator: Sequence[Array]) -> Entries:
    t = scalar * (1 / _ROOT_3)
    ax, ay, az = (x * _ROOT_HALF for x in vector)
    xy, xz, yz, half = (x * _ROOT_HALF for x in deviator[:4])
    zz = deviator[4] * _ROOT_2_3
    return [
        [t + half - 0.5 * zz, xy - az, xz + ay],
        [xy + az, t - half - 0.5 * zz, yz - ax],
        [xz - ay, yz + ax, t + zz],
    ]


def _parts(m: Entries) -> tuple[Array, list[Array], list[Array]]:
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
    return (m[0][0] + m[1][1] + m[2][2]) * (1 / _ROOT_3), vector, deviator


def _compact(m: Entries) -> RankTwo:
    scalar, vector, deviator = _parts(m)
    if not for_gpu():
        # Without the barrier XLA's CPU compiler fuses the arithmetic into the concatenation, whose
        # loop then branches at every element and cannot be vectorized: ten times slower.
        scalar, vector, deviator = lax.optimization_barrier((scalar, vector, deviator))
    return RankTwo(scalar[..., None, :], jnp.stack(vector, axis=-2), jnp.stack(deviator, axis=-2))
