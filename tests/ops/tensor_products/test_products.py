"""What every family of products has in common, and how they are related."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tensornet_jax.ops.harmonics.angular_momentum import gaunt_ratio
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.rotations.rotation import wigner_d
from tensornet_jax.ops.tensor_products import PRODUCTS, ClebschGordan, GauntFourier
from tests.tolerances import OP, OP_FLOAT32

pytestmark = pytest.mark.usefixtures("x64")

# The families that also make pseudotensors.
COMPLETE = ("clebsch_gordan", "matrix", "vector_signal")


def features(product, seed: int, batch=(3, 2)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second, _ = product.degrees
    return rng.normal(size=(*batch, first.size)), rng.normal(size=(*batch, second.size))


def rotated(array, degrees: Degrees, matrix: np.ndarray) -> np.ndarray:
    parts = [
        np.einsum(
            "ij,...j->...i",
            wigner_d(degree, jnp.asarray(matrix)),
            array[..., degrees.slice(degree)],
        )
        for degree in degrees
    ]
    return np.concatenate(parts, axis=-1)


def scale(array) -> float:
    return float(np.abs(array).max())


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("degrees", [(6, 6, 6), (2, 3, 5), (0, 2, 2)])
def test_a_product_without_weights_is_the_contraction_with_its_coefficients(name, degrees):
    product = PRODUCTS[name](*degrees)
    x, y = features(product, 0)
    expected = np.einsum("...a,...b,abc->...c", x, y, product.coefficients())
    z = jax.jit(product)(x, y)
    np.testing.assert_allclose(z, expected, rtol=0, atol=OP * scale(expected))


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("parity", ["both", "even", "odd"])
def test_every_normalization_and_parity_keeps_to_the_coefficients(name, parity):
    if parity == "odd" and name not in COMPLETE:
        with pytest.raises(ValueError, match="couples nothing"):
            PRODUCTS[name](2, 2, 2, parity=parity)
        return
    plain = PRODUCTS[name](2, 1, 3, parity=parity)
    for normalization in ("integral", "component", "norm"):
        product = PRODUCTS[name](2, 1, 3, normalization, parity)
        for path in product.paths:
            factor = {
                "integral": 1,
                "component": np.sqrt(2 * path.l3 + 1),
                "norm": np.sqrt((2 * path.l1 + 1) * (2 * path.l2 + 1)),
            }[normalization]
            assert product.path_factor(path) == pytest.approx(factor * plain.path_factor(path))
        x, y = features(product, 1)
        expected = np.einsum("...a,...b,abc->...c", x, y, product.coefficients())
        z = jax.jit(product)(x, y)
        np.testing.assert_allclose(z, expected, rtol=0, atol=OP * scale(expected))


@pytest.mark.parametrize("degree", range(1, 7))
def test_gaunt_by_fourier_by_grid_and_by_clebsch_gordan_agree(degree):
    degrees = (degree, degree, degree)
    coupled = ClebschGordan(*degrees, parity="even", form="fused")
    ratios = np.array([gaunt_ratio(*path) for path in coupled.paths])
    x, y = features(coupled, 2)
    expected = jax.jit(coupled)(x, y, ratios)
    for product in (
        PRODUCTS["gaunt_grid"](*degrees),
        GauntFourier(*degrees, convolution="fft"),
        GauntFourier(*degrees, convolution="direct"),
    ):
        z = jax.jit(product)(x, y)
        np.testing.assert_allclose(z, expected, rtol=0, atol=OP * scale(expected))


@pytest.mark.parametrize("name", PRODUCTS)
def test_rotating_the_inputs_rotates_the_product(name):
    product = PRODUCTS[name](3, 2, 4)
    first, second, third = product.degrees
    x, y = features(product, 3)
    matrix = Rotation.random(rng=np.random.default_rng(4)).as_matrix()
    weights = np.random.default_rng(5).normal(size=product.num_weights)
    for own in (None, weights):
        apply = jax.jit(product)
        expected = rotated(apply(x, y, own), third, matrix)
        turned = apply(rotated(x, first, matrix), rotated(y, second, matrix), own)
        np.testing.assert_allclose(turned, expected, rtol=0, atol=OP * scale(expected))


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("parity", ["even", "odd"])
def test_even_paths_keep_natural_parity_and_odd_paths_reverse_it(name, parity):
    if parity == "odd" and name not in COMPLETE:
        pytest.skip("the family has no odd paths")
    product = PRODUCTS[name](3, 2, 4, parity=parity)
    first, second, third = ((-1.0) ** degrees.of_components for degrees in product.degrees)
    x, y = features(product, 6)
    expected = np.asarray(product(x, y)) * third * (1 if parity == "even" else -1)
    inverted = product(x * first, y * second)
    np.testing.assert_allclose(inverted, expected, rtol=0, atol=OP * scale(expected))
    assert scale(expected) > 0.1


@pytest.mark.parametrize("name", COMPLETE)
def test_even_and_odd_parts_add_up_to_both(name):
    x, y = features(PRODUCTS[name](2, 2, 3), 7)
    both, even, odd = (
        np.asarray(PRODUCTS[name](2, 2, 3, parity=parity)(x, y))
        for parity in ("both", "even", "odd")
    )
    np.testing.assert_allclose(even + odd, both, rtol=0, atol=OP * scale(both))


@pytest.mark.parametrize("name", COMPLETE)
def test_vector_times_vector_is_their_cross_product(name):
    product = PRODUCTS[name](1, 1, 1, l1_min=1, l2_min=1, l3_min=1)
    x, y = features(product, 8)
    cross = np.cross(x, y)
    z = np.asarray(product(x, y))
    np.testing.assert_allclose(z * (cross / z).flat[0], cross, rtol=0, atol=OP * scale(cross))


@pytest.mark.parametrize("name", PRODUCTS)
def test_float32_is_as_good_as_float32_can_be(name):
    product = PRODUCTS[name](6, 6, 6)
    x, y = features(product, 9, batch=(20,))
    apply = jax.jit(product)
    expected = np.asarray(apply(x, y))
    z = apply(x.astype("f"), y.astype("f"))
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(z, expected, rtol=0, atol=OP_FLOAT32 * scale(expected))


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_values_that_jit_may_hold_static(name):
    product = PRODUCTS[name](2, 2, 2)
    assert product == PRODUCTS[name](2, 2, 2)
    assert hash(product) == hash(PRODUCTS[name](2, 2, 2))
    x, y = features(product, 10)
    apply = jax.jit(lambda product, x, y: product(x, y), static_argnums=0)
    np.testing.assert_allclose(apply(product, x, y), product(x, y), rtol=OP, atol=OP)


@pytest.mark.parametrize("name", PRODUCTS)
def test_bad_arguments_name_the_offender(name):
    family = PRODUCTS[name]
    with pytest.raises(ValueError, match=r"'full'.*integral, component, norm"):
        family(1, 1, 1, "full")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"'none'.*both, even, odd"):
        family(1, 1, 1, parity="none")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="l2_max -1"):
        family(1, -1, 1)
    with pytest.raises(ValueError, match="couples nothing"):
        family(1, 1, 4, l3_min=4)
    product = family(1, 1, 1)
    with pytest.raises(ValueError, match=r"last axis of y \(3, 9\) must be 4"):
        product(np.ones((3, 4)), np.ones((3, 9)))
    with pytest.raises(ValueError, match="last axis of weights"):
        product(np.ones(4), np.ones(4), np.ones(product.num_weights + 1))
