import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from tensornet_jax.ops import cartesian
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def matrices() -> tuple[np.ndarray, np.ndarray]:
    """Two fields of full 3×3 tensors, (atoms, 3, 3, channels)."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 3, 3, 5)), rng.normal(size=(4, 3, 3, 5))


def test_compact_form_loses_nothing(matrices):
    full, _ = matrices
    np.testing.assert_allclose(
        cartesian.to_matrix(cartesian.from_matrix(full)), full, rtol=OP, atol=OP
    )


def test_parts_are_trace_antisymmetric_and_traceless_symmetric(matrices):
    full, _ = matrices
    compact = cartesian.from_matrix(full)
    transposed = np.swapaxes(full, 1, 2)
    identity = np.eye(3)[None, :, :, None]
    scalar = np.trace(full, axis1=1, axis2=2)[:, None, None] / 3 * identity
    antisymmetric = (full - transposed) / 2
    symmetric = (full + transposed) / 2 - scalar
    zero = cartesian.RankTwo(*(0 * part for part in compact))
    for name, expected in zip(
        ("scalar", "vector", "deviator"), (scalar, antisymmetric, symmetric), strict=True
    ):
        part = zero._replace(**{name: getattr(compact, name)})
        np.testing.assert_allclose(cartesian.to_matrix(part), expected, rtol=OP, atol=OP)


def test_squared_norms_are_frobenius_norms_of_the_parts(matrices):
    full, _ = matrices
    compact = cartesian.from_matrix(full)
    np.testing.assert_allclose(
        cartesian.squared_norm(compact)[:, 0], (full**2).sum((1, 2)), rtol=OP
    )
    antisymmetric = (full - np.swapaxes(full, 1, 2)) / 2
    np.testing.assert_allclose(
        cartesian.squared_norms(compact)[:, 1], (antisymmetric**2).sum((1, 2)), rtol=OP
    )


def test_products_are_matrix_products(matrices):
    a, b = matrices
    x, y = cartesian.from_matrix(a), cartesian.from_matrix(b)
    ab, ba = np.einsum("nikf,nkjf->nijf", a, b), np.einsum("nikf,nkjf->nijf", b, a)
    np.testing.assert_allclose(cartesian.to_matrix(cartesian.matmul(x, y)), ab, rtol=OP, atol=OP)
    np.testing.assert_allclose(
        cartesian.to_matrix(cartesian.anticommutator(x, y)), ab + ba, rtol=OP, atol=OP
    )


def test_parts_of_a_direction_are_identity_skew_matrix_and_traceless_square():
    unit = jnp.array([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]])
    parts = [part[..., None] for part in cartesian.parts_of_unit_vectors(unit)]
    zero = cartesian.RankTwo(*(0 * part for part in parts))
    identity, skew, square = (
        np.asarray(cartesian.to_matrix(zero._replace(**{name: part})))[..., 0]
        for name, part in zip(zero._fields, parts, strict=True)
    )
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), (2, 3, 3)), atol=OP)
    np.testing.assert_allclose(skew[0], np.cross(unit[0], np.eye(3)).T, atol=OP)
    np.testing.assert_allclose(square[0], np.outer(unit[0], unit[0]) - np.eye(3) / 3, atol=OP)
    np.testing.assert_array_equal(skew[1], 0)
    np.testing.assert_array_equal(square[1], 0)


@pytest.mark.parametrize("product", [cartesian.matmul, cartesian.anticommutator])
def test_derivatives_of_products_are_right_to_third_order(matrices, product):
    x, y = (cartesian.from_matrix(full[:1, ..., :1]) for full in matrices)
    check_grads(jax.jit(product), (x, y), order=3, modes=["rev"], eps=1e-4)


@pytest.mark.parametrize("inversion", [1, -1])
def test_products_are_equivariant_under_rotation_and_inversion(matrices, inversion):
    rotation = inversion * Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    a, b = matrices

    def rotated(full):
        return np.einsum("ai,nijf,bj->nabf", rotation, full, rotation)

    for product in (cartesian.matmul, cartesian.anticommutator):
        before = cartesian.to_matrix(product(*map(cartesian.from_matrix, (a, b))))
        after = cartesian.to_matrix(
            product(*(cartesian.from_matrix(rotated(full)) for full in (a, b)))
        )
        np.testing.assert_allclose(after, rotated(np.asarray(before)), rtol=OP, atol=1e1 * OP)


def test_sum_adds_tensors_rather_than_concatenating_tuples(matrices):
    x, y = map(cartesian.from_matrix, matrices)
    np.testing.assert_allclose(cartesian.to_matrix(x + y), sum(matrices), rtol=OP, atol=OP)
