"""The kernels of functions of one channel against plain forms, interpreted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.kernels.channel_blocks import can_be_split
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction
from tests.ops.kernels.agreement import in_both_forms

pytestmark = pytest.mark.usefixtures("x64")

CHANNELS, SPECIES = 16, jnp.asarray([0, 2, 2])


def inputs(contraction, dtype):
    """Features of three atoms, and weights of three species."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3, (contraction.l_max + 1) ** 2, CHANNELS))
    weights = rng.normal(size=(3, contraction.num_weights, CHANNELS))
    return jnp.asarray(features, dtype), jnp.asarray(weights, dtype)


@pytest.mark.parametrize(("l_max", "order", "parity"), [(1, 3, "even"), (1, 4, "both")])
def test_a_contraction_and_two_derivatives_are_those_of_the_plain_form(l_max, order, parity):
    contraction = SymmetricContraction(l_max, 1, order, parity)

    def derivatives(features, weights):
        arguments = features, weights

        def loss(arguments):
            features, weights = arguments
            return jnp.sum(contraction(features, weights, SPECIES) ** 2)

        def of_gradient(arguments):
            return sum(jnp.sum(each**2) for each in jax.grad(loss)(arguments))

        value = contraction(features, weights, SPECIES)
        return value, jax.grad(loss)(arguments), jax.grad(of_gradient)(arguments)

    arguments = inputs(contraction, "float64")
    assert can_be_split(*arguments)
    for value, expected in zip(*in_both_forms(derivatives, *arguments), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * scale)


def test_the_largest_contraction_that_models_use_has_a_kernel():
    """Hidden irreps to l = 2, edges to l = 3, three factors."""
    contraction = SymmetricContraction(3, 2, 3)

    def forces(features, weights):
        def energy(features):
            return jnp.sum(contraction(features, weights, SPECIES) ** 2)

        return jax.grad(energy)(features)

    (value,), (expected,) = in_both_forms(forces, *inputs(contraction, "float64"))
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_float32_has_the_digits_of_float32():
    contraction = SymmetricContraction(2, 1, 3)
    features, weights = inputs(contraction, "float32")
    (value,), (expected,) = in_both_forms(
        lambda *each: contraction(each[0], each[1], SPECIES), features, weights
    )
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("channels", [8, 40])
def test_other_numbers_of_channels_are_left_to_the_plain_form(channels):
    assert not can_be_split(jnp.zeros((1, 4, channels)), jnp.zeros((1, 4, channels)))


def test_a_third_derivative_is_that_of_the_plain_form():
    """Made by JAX, where there is no walk of its own."""
    contraction = SymmetricContraction(1, 0, 3)
    features, weights = inputs(contraction, "float64")

    def third(features):
        def loss(features):
            return jnp.sum(contraction(features, weights, SPECIES) ** 2)

        def square(function):
            return lambda features: jnp.sum(jax.grad(function)(features) ** 2)

        return jax.grad(square(square(loss)))(features)

    (value,), (expected,) = in_both_forms(third, features)
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
