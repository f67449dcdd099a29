import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.tensor_products.gaunt_grid import GauntGrid
from tensornet_jax.ops.tensor_products.many_body import GauntManyBody
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32


class OneSizeTooSmall(GauntManyBody):
    """A product that believes one degree less is enough."""

    @property
    def degree_needed(self):
        return super().degree_needed - 1


def features(size, batch=(3,), seed=0):
    return np.random.default_rng(seed).normal(size=(*batch, size))


def power_of_signal(x, l_max, l_out_max, order):
    """∫ Y_c f^order on a much finer grid with SciPy's harmonics."""
    signal = x @ sphere.fine_harmonics(l_max).T
    return (signal**order * sphere.fine_grid()[1]) @ sphere.fine_harmonics(l_out_max)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quadrature", ["lebedev", "gauss_legendre"])
@pytest.mark.parametrize(
    ("l_max", "l_out_max", "order"), [(2, 3, 1), (2, 2, 2), (3, 1, 3), (2, 2, 4), (0, 1, 3)]
)
def test_a_power_is_projected_exactly(l_max, l_out_max, order, quadrature):
    x = features((l_max + 1) ** 2)
    product = GauntManyBody(l_max, l_out_max, order, quadrature=quadrature)
    expected = power_of_signal(x, l_max, l_out_max, order)
    assert sphere.relative_error(product(x), expected) < OP


@pytest.mark.usefixtures("x64")
def test_a_power_is_the_repeated_product_with_all_degrees_between():
    x = features(9)
    square = GauntGrid(2, 2, 4)(x, x)
    cube = GauntGrid(4, 2, 6)(square, x)
    third = np.asarray(GauntGrid(4, 2, 3)(square, x))
    assert sphere.relative_error(GauntManyBody(2, 3, 3)(x), third) < OP
    fourth = np.asarray(GauntGrid(6, 2, 2)(cube, x))
    assert sphere.relative_error(GauntManyBody(2, 2, 4)(x), fourth) < OP
    # With the degrees between cut at l_max it is another function.
    cut = GauntGrid(2, 2, 3)(GauntGrid(2, 2, 2)(x, x), x)
    assert sphere.relative_error(cut, third) > 1e-2


@pytest.mark.usefixtures("x64")
def test_weights_mix_the_powers_for_each_degree():
    x, product = features(9, (4, 1)), GauntManyBody(2, 1, 3)
    weights = np.random.default_rng(1).normal(size=(5, 3, 2))
    powers = np.stack([power_of_signal(x, 2, 1, order) for order in (1, 2, 3)], axis=-2)
    assert sphere.relative_error(product.powers(x), powers) < OP
    expected = np.sum(powers * np.repeat(weights, [1, 3], axis=-1), axis=-2)
    assert expected.shape == (4, 5, 4)
    assert sphere.relative_error(product(x, weights), expected) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("l_out_max", [1, 4])
def test_first_power_is_the_signal_cut_or_filled(l_out_max, normalization):
    x = features(9)
    of_one_factor = GauntManyBody(2, l_out_max, 1, normalization)
    powers = GauntManyBody(2, l_out_max, 3, normalization).powers(x)
    assert sphere.relative_error(powers[:, 0], np.asarray(of_one_factor(x))) < OP


@pytest.mark.usefixtures("x64")
def test_different_signals_are_multiplied():
    factors = [features(9, seed=seed) for seed in range(3)]
    product = GauntManyBody(2, 3, 3)
    expected = GauntGrid(4, 2, 3)(GauntGrid(2, 2, 4)(*factors[:2]), factors[2])
    assert sphere.relative_error(product.product(factors), np.asarray(expected)) < OP
    assert sphere.relative_error(product.product(factors[:1] * 3), product(factors[0])) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
def test_second_order_is_the_gaunt_product(normalization):
    x = features(16)
    expected = np.asarray(GauntGrid(3, 3, 2, normalization)(x, x))
    assert sphere.relative_error(GauntManyBody(3, 2, 2, normalization)(x), expected) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quadrature", ["lebedev", "gauss_legendre"])
@pytest.mark.parametrize(("l_max", "l_out_max", "order"), [(2, 2, 3), (1, 1, 3)])
def test_a_grid_one_size_too_small_is_wrong_and_refused(l_max, l_out_max, order, quadrature):
    x, needed = features((l_max + 1) ** 2), order * l_max + l_out_max
    expected = power_of_signal(x, l_max, l_out_max, order)
    aliased = OneSizeTooSmall(l_max, l_out_max, order, quadrature=quadrature)(x)
    assert sphere.relative_error(aliased, expected) > 1e-3
    with pytest.raises(ValueError, match=f"degree {needed - 1} is too small.*degree {needed} is"):
        GauntManyBody(l_max, l_out_max, order, quadrature=quadrature, degree=needed - 1)


@pytest.mark.usefixtures("x64")
def test_it_turns_with_its_input_and_keeps_natural_parity():
    product = GauntManyBody(2, 3, 3)
    x, weights = features(9), features(12).reshape(3, 3, 4)
    rotation = sphere.random_rotation()
    of_x, of_z = (sphere.rotation_of_features(rotation, l_max) for l_max in (2, 3))
    value = product(x, weights)
    assert sphere.relative_error(product(x @ of_x.T, weights), value @ of_z.T) < OP
    px, pz = map(sphere.inversion_of_features, (2, 3))
    assert sphere.relative_error(product(px * x, weights), pz * np.asarray(value)) < OP
    # Of a pseudo-tensor odd powers are pseudo-tensors.
    assert sphere.relative_error(product(-px * x), -pz * np.asarray(product(x))) < OP


@pytest.mark.usefixtures("x64")
def test_first_and_second_derivatives():
    product = GauntManyBody(1, 1, 3)
    x, weights = features(4, (2,)), features(6, (2,)).reshape(2, 3, 2)
    check_grads(jax.jit(product), (x, weights), order=2, modes=["rev"])


def test_float32_loses_only_its_rounding():
    x = features(16)
    value = jax.jit(GauntManyBody(3, 2, 3))(jnp.asarray(x, jnp.float32))
    assert value.dtype == jnp.float32
    assert sphere.relative_error(value, power_of_signal(x, 3, 2, 3)) < OP_FLOAT32


def test_wrong_shapes_and_settings_are_named():
    product = GauntManyBody(2, 1, 3)
    with pytest.raises(ValueError, match=r"last axis of x \(2, 4\) must be 9"):
        product(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"last axes of weights \(2, 3\) must be \(3, 2\)"):
        product(np.ones(9), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"2 factors.*multiplies 3"):
        product.product([np.ones(9)] * 2)
    with pytest.raises(ValueError, match="order of at least 1"):
        GauntManyBody(2, 1, 0)
    with pytest.raises(ValueError, match="degrees of at least 0"):
        GauntManyBody(2, -1, 2)
