"""Solid harmonics against SciPy's complex harmonics and against what defines them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import sph_harm_y

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tests.tolerances import OP, OP_FLOAT32

SPECIAL = np.concatenate([np.eye(3), -np.eye(3), np.zeros((1, 3))])


def random_vectors(number: int = 40) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(number, 3))


def by_scipy(vectors: np.ndarray, l_max: int) -> np.ndarray:
    """Real harmonics of the directions: √2 (−1)^m times SciPy's parts, polar axis y."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    polar, azimuth = np.arccos(unit[:, 1]), np.arctan2(unit[:, 0], unit[:, 2])
    columns = []
    for degree in range(l_max + 1):
        for m in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(m), polar, azimuth)
            part = value.imag if m < 0 else value.real
            columns.append(part * (np.sqrt(2) * (-1) ** m if m else 1))
    return np.stack(columns, axis=-1)


def test_harmonics_are_scipys_up_to_degree_ten():
    vectors = random_vectors()
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.testing.assert_allclose(
        solid_harmonics(unit, 10), by_scipy(vectors, 10), rtol=0, atol=10 * OP
    )


def test_harmonics_grow_as_the_length_to_the_power_of_their_degree():
    vectors, degrees = random_vectors(), Degrees(0, 6)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    expected = by_scipy(vectors, 6) * lengths**degrees.of_components
    scale = np.abs(expected).max()
    np.testing.assert_allclose(solid_harmonics(vectors, 6), expected, rtol=0, atol=OP * scale)


def test_harmonics_are_orthonormal_over_the_sphere():
    """By Gauss–Legendre nodes in cos β and uniform azimuths, exact for twice the degree."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    azimuths = 2 * np.pi * np.arange(15) / 15
    y, alpha = (grid.ravel() for grid in np.meshgrid(nodes, azimuths, indexing="ij"))
    radius = np.sqrt(1 - y**2)
    points = np.stack([radius * np.sin(alpha), y, radius * np.cos(alpha)], axis=-1)
    area = np.repeat(weights, 15) * 2 * np.pi / 15
    values = solid_harmonics(points, 6)
    overlaps = np.einsum("n,na,nb->ab", area, values, values)
    np.testing.assert_allclose(overlaps, np.eye(49), rtol=0, atol=10 * OP)


def test_normalizations_differ_by_the_factors_of_their_definition():
    vectors, degree = random_vectors(), Degrees(0, 5).of_components
    integral = solid_harmonics(vectors, 5)
    component = solid_harmonics(vectors, 5, "component")
    norm = solid_harmonics(vectors, 5, "norm")
    np.testing.assert_allclose(component, integral * np.sqrt(4 * np.pi), rtol=OP, atol=OP)
    np.testing.assert_allclose(norm, component / np.sqrt(2 * degree + 1), rtol=OP, atol=OP)
    lengths = np.linalg.norm(vectors, axis=-1)
    for each in range(6):
        block = norm[:, Degrees(0, 5).slice(each)]
        np.testing.assert_allclose((block**2).sum(-1), lengths ** (2 * each), rtol=10 * OP)


def test_degree_one_is_the_vector_in_the_order_x_y_z():
    vectors = random_vectors()
    np.testing.assert_allclose(solid_harmonics(vectors, 1, "norm")[:, 1:], vectors, rtol=OP)


@pytest.mark.usefixtures("x64")
def test_jax_and_numpy_agree_and_derivatives_at_zero_and_on_the_axes_are_the_polynomials():
    points = np.concatenate([SPECIAL, random_vectors(5)])

    def harmonics(vector):
        return solid_harmonics(vector, 6)

    values, slopes = jax.jit(jax.vmap(lambda v: (harmonics(v), jax.jacrev(harmonics)(v))))(points)
    np.testing.assert_allclose(values, solid_harmonics(points, 6), rtol=0, atol=10 * OP * 50)
    at_zero = np.zeros((49, 3))
    at_zero[1:4] = np.sqrt(3 / (4 * np.pi)) * np.eye(3)
    np.testing.assert_allclose(slopes[6], at_zero, rtol=0, atol=OP)
    # Five-point differences are exact to rounding for so small a step and degree 6.
    step = 1e-3
    for axis, shift in enumerate(step * np.eye(3)):
        near = solid_harmonics(points + shift, 6) - solid_harmonics(points - shift, 6)
        far = solid_harmonics(points + 2 * shift, 6) - solid_harmonics(points - 2 * shift, 6)
        slope = (8 * near - far) / (12 * step)
        scale = np.abs(slope).max()
        np.testing.assert_allclose(slopes[..., axis], slope, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_second_derivatives_at_zero_and_on_the_axes_are_finite(dtype):
    with jax.enable_x64(dtype == np.float64):
        vectors = jnp.asarray(SPECIAL, dtype)
        hessians = jax.jit(jax.vmap(jax.jacfwd(jax.jacrev(lambda v: solid_harmonics(v, 4)))))
        second = hessians(vectors)
    assert second.dtype == dtype
    assert np.isfinite(second).all()
    # Harmonic: the Laplacian of every component is zero.
    laplacian = np.trace(second, axis1=-2, axis2=-1)
    np.testing.assert_allclose(laplacian, 0, atol=OP_FLOAT32 * np.abs(second).max())


def test_float32_harmonics_are_right_to_its_rounding():
    vectors = random_vectors()
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    rounded = solid_harmonics(vectors.astype(np.float32), 6)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, solid_harmonics(vectors, 6), rtol=0, atol=OP_FLOAT32)


def test_unknown_normalization_and_negative_degree_are_refused():
    with pytest.raises(ValueError, match="l_max -1 must not be negative"):
        solid_harmonics(np.ones(3), -1)
    with pytest.raises(ValueError, match="unknown normalization 'unit'"):
        solid_harmonics(np.ones(3), 1, "unit")  # type: ignore[arg-type]
