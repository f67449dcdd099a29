"""Wigner matrices against the harmonics themselves, e3nn-jax and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.rotations.rotation import (
    aligning_rotation,
    rotate,
    wigner_d,
    wigner_matrices,
)
from tensornet_jax.runtime.quiet_imports import e3nn_jax
from tests.directions import special_directions
from tests.tolerances import OP, OP_FLOAT32

matrices_to_ten = jax.jit(lambda rotation: wigner_matrices(rotation, 10))


def rotations_with_and_without_inversion() -> np.ndarray:
    proper = np.concatenate(
        [
            Rotation.from_rotvec(2 * np.random.default_rng(0).normal(size=(10, 3))).as_matrix(),
            [np.eye(3), np.diag([1, -1, -1]), np.diag([-1, -1, 1])],
        ]
    )
    return np.concatenate([proper, -proper])


@pytest.mark.usefixtures("x64")
def test_matrices_turn_harmonics_of_a_vector_into_those_of_the_rotated_vector():
    rotations = rotations_with_and_without_inversion()
    vectors = np.random.default_rng(1).normal(size=(len(rotations), 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    before = solid_harmonics(vectors, 10)
    after = solid_harmonics(np.einsum("nij,nj->ni", rotations, vectors), 10)
    turned = rotate(jnp.asarray(before), matrices_to_ten(rotations))
    np.testing.assert_allclose(turned, after, rtol=0, atol=OP)


@pytest.mark.usefixtures("x64")
def test_degree_one_is_the_rotation_itself():
    rotations = rotations_with_and_without_inversion()
    np.testing.assert_allclose(wigner_d(1, rotations), rotations, rtol=0, atol=OP)
    np.testing.assert_allclose(wigner_d(1, rotations[0]), rotations[0], rtol=0, atol=OP)


@pytest.mark.usefixtures("x64")
def test_matrices_are_orthogonal_and_follow_the_product_of_rotations():
    first = rotations_with_and_without_inversion()
    second = np.roll(first, 1, axis=0)
    of_first, of_second = matrices_to_ten(first), matrices_to_ten(second)
    for a, b, both in zip(of_first, of_second, matrices_to_ten(first @ second), strict=True):
        np.testing.assert_allclose(a @ b, both, rtol=0, atol=OP)
        identity = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
        np.testing.assert_allclose(a @ a.swapaxes(-1, -2), identity, rtol=0, atol=OP)


@pytest.mark.usefixtures("x64")
def test_matrices_are_e3nns():
    rotations = rotations_with_and_without_inversion()
    matrices = matrices_to_ten(rotations)
    for degree in (1, 2, 5):
        theirs = e3nn_jax.Irrep(degree, 1).D_from_matrix(jnp.asarray(rotations[:3]))
        np.testing.assert_allclose(matrices[degree][:3], theirs, rtol=0, atol=1e-9)


def test_float32_matrices_are_right_to_its_rounding():
    rotations = rotations_with_and_without_inversion()
    with jax.enable_x64(True):
        exact = matrices_to_ten(rotations)
    rounded = matrices_to_ten(rotations.astype(np.float32))
    for degree, (a, b) in enumerate(zip(rounded, exact, strict=True)):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=OP_FLOAT32, err_msg=str(degree))


@pytest.mark.usefixtures("x64")
def test_derivative_along_a_rotation_is_right_at_every_rotation():
    """Y(exp(tω) R r) differentiated by the matrices, against the harmonics' own derivative."""
    generator = np.array([[0, -0.3, 0.7], [0.3, 0, -0.5], [-0.7, 0.5, 0]])
    rotations = rotations_with_and_without_inversion()
    vector = jnp.array([0.36, 0.48, 0.8])

    def by_matrices(rotation):
        return rotate(solid_harmonics(vector, 6), wigner_matrices(rotation, 6))

    def slopes(rotation):
        tangent = generator @ rotation
        return (
            jax.jvp(by_matrices, (rotation,), (tangent,))[1],
            jax.jvp(lambda R: solid_harmonics(R @ vector, 6), (rotation,), (tangent,))[1],
        )

    ours, theirs = jax.jit(jax.vmap(slopes))(rotations)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * OP)


@pytest.mark.usefixtures("x64")
def test_aligning_rotation_is_proper_and_turns_every_vector_onto_y():
    vectors = np.concatenate([special_directions(), np.random.default_rng(2).normal(size=(50, 3))])
    rotations = aligning_rotation(3.7 * vectors)
    lengths = np.linalg.norm(vectors, axis=-1)
    turned = np.einsum("nij,nj->ni", rotations, vectors)
    np.testing.assert_allclose(turned, lengths[:, None] * [0, 1, 0], rtol=0, atol=OP)
    products = np.einsum("nij,nkj->nik", rotations, rotations)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=OP)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, rtol=OP)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rotations_of_axes_and_of_the_zero_vector_have_finite_derivatives(dtype):
    vectors = np.concatenate([special_directions(), np.zeros((1, 3))]).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        rotations = aligning_rotation(vectors)
        np.testing.assert_array_equal(rotations[-1], np.eye(3))
        first = jax.jit(jax.vmap(jax.jacrev(aligning_rotation)))(vectors)
        second = jax.jit(jax.vmap(jax.jacrev(jax.jacrev(aligning_rotation))))(vectors)
    assert rotations.dtype == dtype
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()
    np.testing.assert_array_equal(first[-1], 0)


def test_unfit_arguments_are_refused():
    matrices = wigner_matrices(jnp.eye(3), 1)
    with pytest.raises(ValueError, match=r"must end in 4 for 2 matrices"):
        rotate(jnp.ones((2, 9)), matrices)
    with pytest.raises(ValueError, match=r"must be \(3, 3\)"):
        wigner_matrices(jnp.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="must not be negative"):
        wigner_d(-1, jnp.eye(3))
