import numpy as np
import pytest

from tensornet_jax.ops.tensor_products.vector_signal import VectorSignal
from tensornet_jax.ops.tensor_products.vector_spherical_harmonics import (
    vector_spherical_harmonics,
)
from tests.ops.tensor_products import sphere
from tests.tolerances import OP

POINTS, WEIGHTS = sphere.fine_grid()


def vector_harmonics(l, j):  # noqa: E741
    return vector_spherical_harmonics(POINTS, l, j)


def surface_gradients(degree):
    """r∇Y/√(l(l+1)) as Cartesian vectors, from SciPy's derivatives."""
    theta, phi = (angle[:, None] for angle in sphere.angles(POINTS))
    along_theta = [np.cos(theta) * np.sin(phi), -np.sin(theta), np.cos(theta) * np.cos(phi)]
    along_phi = [np.cos(phi), 0 * phi, -np.sin(phi)]
    tangents = np.stack([np.concatenate(t, 1) for t in (along_theta, along_phi)], axis=1)
    values = sphere.gradients(POINTS, degree)[:, degree**2 :]
    return np.einsum("gmt,gti->gmi", values, tangents) / np.sqrt(degree * (degree + 1))


def test_they_are_orthonormal():
    # j = 0 has only the radial field, l = 1.
    pairs = [(1, 0), *((j + shift, j) for j in range(1, 5) for shift in (-1, 0, 1))]
    fields = np.concatenate([vector_harmonics(*pair) for pair in pairs], axis=1)
    overlaps = np.einsum("g,gai,gbi->ab", WEIGHTS, fields, fields)
    np.testing.assert_allclose(overlaps, np.eye(len(overlaps)), atol=OP)


@pytest.mark.parametrize("j", [1, 2, 5])
def test_those_with_equal_degrees_are_the_rotated_gradients(j):
    rotated = np.cross(surface_gradients(j), POINTS[:, None])
    np.testing.assert_allclose(vector_harmonics(j, j), rotated, atol=OP)


@pytest.mark.parametrize("j", [1, 2, 5])
def test_the_others_make_the_gradients_and_the_radial_fields(j):
    below, above = vector_harmonics(j - 1, j), vector_harmonics(j + 1, j)
    a, b = np.sqrt(np.array([j + 1, j]) / (2 * j + 1))
    radial = sphere.harmonics(POINTS, j)[:, j**2 :, None] * POINTS[:, None]
    np.testing.assert_allclose(a * below - b * above, surface_gradients(j), atol=OP)
    np.testing.assert_allclose(b * below + a * above, radial, atol=OP)


@pytest.mark.parametrize(("l", "j"), [(1, 1), (1, 2), (3, 2)])
def test_they_turn_as_vectors_and_as_their_degree(l, j):  # noqa: E741
    rotation = sphere.random_rotation()
    of_degree = sphere.rotation_of_features(rotation, j)[j**2 :, j**2 :]
    turned = vector_spherical_harmonics(POINTS @ rotation.T, l, j)
    expected = np.einsum("mn,gni,ki->gmk", of_degree, vector_harmonics(l, j), rotation)
    np.testing.assert_allclose(turned, expected, atol=OP)


@pytest.mark.parametrize(("l1", "l2", "l3"), [(1, 1, 1), (2, 2, 1), (2, 3, 4), (3, 3, 5)])
def test_their_cross_product_is_the_odd_part_of_the_vector_signal_product(l1, l2, l3):
    product = VectorSignal(l1, l2, l3, parity="odd", l1_min=l1, l2_min=l2, l3_min=l3).coefficients()
    scalar = sphere.harmonics(POINTS, l3)[:, l3**2 :]
    for fields in (
        (vector_harmonics(l1, l1), vector_harmonics(l2, l2)),
        (
            surface_gradients(l1),
            surface_gradients(l2),
        ),
    ):
        crossed = np.cross(fields[0][:, :, None], fields[1][:, None])
        integrals = np.einsum("g,gi,gabi,gc->abc", WEIGHTS, POINTS, crossed, scalar, optimize=True)
        np.testing.assert_allclose(integrals, product, atol=OP)


@pytest.mark.parametrize(("l", "j"), [(0, 0), (2, 4), (-1, 0)])
def test_degrees_that_do_not_couple_are_refused(l, j):  # noqa: E741
    with pytest.raises(ValueError, match=f"l {l} and 1 do not couple to j {j}"):
        vector_spherical_harmonics(POINTS, l, j)
