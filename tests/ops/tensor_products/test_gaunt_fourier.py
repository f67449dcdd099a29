from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.gaunt_fourier import Convolution, GauntFourier
from tensornet_jax.ops.tensor_products.torus_tables import polar_series, projected_series
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32

CONVOLUTIONS = ["fft", "direct"]
DEGREES = [(0, 0, 0), (1, 1, 1), (2, 2, 4), (2, 3, 1), (3, 1, 2), (0, 2, 2), (1, 2, 5), (6, 6, 6)]


def features(*sizes, batch=(3,), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(*batch, size)) for size in sizes]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_product_is_the_pointwise_product_of_two_signals(degrees, convolution):
    x, y = features(*((l_max + 1) ** 2 for l_max in degrees[:2]))
    a, b, c = map(sphere.fine_harmonics, degrees)
    expected = ((x @ a.T) * (y @ b.T) * sphere.fine_grid()[1]) @ c
    product = GauntFourier(*degrees, convolution=convolution)
    assert sphere.relative_error(jax.jit(product)(x, y), expected) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_degrees_that_two_signals_cannot_reach_are_exactly_zero(convolution):
    x, y = features(4, 9)
    z = np.asarray(GauntFourier(1, 2, 5, convolution=convolution)(x, y))
    assert not z[:, 16:].any()
    assert z[:, :16].any()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_product_is_the_contraction_with_its_coefficients(normalization, convolution):
    product = GauntFourier(
        3, 2, 4, normalization, convolution=convolution, l1_min=1, l2_min=2, l3_min=1
    )
    x, y, weights = features(15, 5, product.num_weights)
    w1, w2, w3 = np.split(weights, np.cumsum([3, 1]), axis=1)
    tensor = product.coefficients()
    assert sphere.relative_error(product(x, y), np.einsum("na,nb,abc->nc", x, y, tensor)) < OP
    weighted = np.einsum(
        "na,nb,abc->nc", x * np.repeat(w1, [3, 5, 7], 1), y * np.repeat(w2, [5], 1), tensor
    ) * np.repeat(w3, [3, 5, 7, 9], 1)
    assert sphere.relative_error(product(x, y, weights), weighted) < OP


def test_polar_series_are_the_harmonics_on_the_whole_circle():
    l_max = 6
    beta = np.random.default_rng(0).uniform(0, np.pi, 20)
    u = np.arange(l_max + 1)
    cosines, sines = np.cos(u * beta[:, None]), np.sin(u * beta[:, None])
    series = polar_series(l_max)
    points = np.stack([0 * beta, np.cos(beta), np.sin(beta)], axis=-1)
    expected = sphere.harmonics(points, l_max)
    for degree in range(l_max + 1):
        for m in range(-degree, degree + 1):
            basis = sines if m % 2 else cosines
            value = basis @ series[degree**2 + degree + m]
            reference = expected[:, degree**2 + degree + abs(m)]
            np.testing.assert_allclose(value, reference, rtol=0, atol=OP)


def test_projection_is_the_integral_over_the_sphere():
    band, l_max = 7, 4
    points, weights = sphere.fine_grid()
    beta, alpha = sphere.angles(points)
    degrees = Degrees(0, l_max)
    projected = projected_series(degrees, band)
    harmonics = sphere.fine_harmonics(l_max)
    # The integrands with an odd sum of u and l are not polynomials on the sphere, but zero.
    for degree in degrees:
        for m in range(-degree, degree + 1):
            azimuth = np.sin(-m * alpha) if m < 0 else np.cos(m * alpha)
            for u in range(degree % 2, band + 1, 2):
                signal = (np.sin if m % 2 else np.cos)(u * beta) * azimuth
                expected = np.sum(weights * signal * harmonics[:, degree**2 + degree + m])
                value = projected[degree**2 + degree + m, u]
                np.testing.assert_allclose(value, expected, rtol=0, atol=OP)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_product_turns_with_its_inputs_and_keeps_natural_parity(convolution):
    product = jax.jit(GauntFourier(3, 2, 4, convolution=convolution))
    x, y, weights = features(16, 9, 4 + 3 + 5)
    rotation = sphere.random_rotation()
    of_x, of_y, of_z = (sphere.rotation_of_features(rotation, l_max) for l_max in (3, 2, 4))
    value = product(x, y, weights)
    assert sphere.relative_error(product(x @ of_x.T, y @ of_y.T, weights), value @ of_z.T) < OP
    px, py, pz = map(sphere.inversion_of_features, (3, 2, 4))
    for sign in (1, -1):
        inverted = product(sign * px * x, py * y, weights)
        assert sphere.relative_error(inverted, sign * pz * value) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("degrees", [(2, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_first_and_second_derivatives(degrees, convolution):
    product = GauntFourier(*degrees, convolution=convolution)
    sizes = [(l_max + 1) ** 2 for l_max in degrees[:2]]
    inputs = features(*sizes, product.num_weights, batch=(2,))
    check_grads(jax.jit(product), inputs, order=2, modes=["rev"])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_derivatives_are_contractions_with_the_coefficients(convolution):
    product = GauntFourier(4, 3, 4, convolution=convolution)
    x, y, z = features(25, 16, 25)
    _, pullback = jax.vjp(jax.jit(product), x, y)
    of_x, of_y = pullback(z)
    tensor = product.coefficients()
    assert sphere.relative_error(of_x, np.einsum("abc,nb,nc->na", tensor, y, z)) < OP
    assert sphere.relative_error(of_y, np.einsum("abc,na,nc->nb", tensor, x, z)) < OP


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_float32_loses_only_its_rounding(convolution):
    product = GauntFourier(6, 6, 6, convolution=convolution)
    x, y = features(49, 49)
    value = product(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert value.dtype == jnp.float32
    expected = np.einsum("na,nb,abc->nc", x, y, product.coefficients())
    assert sphere.relative_error(value, expected) < OP_FLOAT32


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_leading_axes_broadcast_and_map(convolution):
    product = GauntFourier(2, 1, 2, convolution=convolution)
    (x,), (y,) = features(9, batch=(5, 1)), features(4, batch=(3,))
    tensor = product.coefficients()
    expected = np.einsum("...a,...b,abc->...c", x, y, tensor)
    for mapped in (jax.jit(product), jax.jit(jax.vmap(product, (0, None)))):
        assert sphere.relative_error(mapped(x, y), expected) < OP
    assert sphere.relative_error(jax.jit(product)(x[0, 0], y[0]), expected[0, 0]) < OP


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_integers_are_features_too(convolution):
    x, y = np.eye(4, dtype=int)[1], np.eye(4, dtype=int)[0]
    expected = np.asarray(x) / np.sqrt(4 * np.pi)
    value = GauntFourier(1, 1, 1, convolution=convolution)(x, y)
    np.testing.assert_allclose(value, expected, atol=OP_FLOAT32)


def test_each_convolution_is_what_it_is_called():
    def program(l_max: int, convolution: Convolution):
        product = GauntFourier(l_max, l_max, l_max, convolution=convolution)
        zeros = np.zeros((2, (l_max + 1) ** 2), np.float32)
        return str(jax.make_jaxpr(product)(zeros, zeros))

    assert " fft[" in program(1, "fft")
    assert " fft[" not in program(3, "direct")
    # The measured choice.
    assert " fft[" not in program(1, "auto")
    assert " fft[" in program(2, "auto")


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_matrix_products_are_never_rounded_to_tensorfloat32(convolution):
    product = partial(GauntFourier(1, 1, 1, convolution=convolution))
    jaxpr = str(jax.make_jaxpr(product)(np.ones((2, 4)), np.ones((2, 4))))
    assert jaxpr.count("dot_general") == jaxpr.count("Precision.HIGHEST, Precision.HIGHEST") == 3


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"unknown convolution 'winograd'.*auto, fft, direct"):
        GauntFourier(1, 1, 1, convolution="winograd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="couples nothing"):
        GauntFourier(3, 3, 3, parity="odd")
