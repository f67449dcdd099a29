"""The kernel of linear maps by degree against the plain form, interpreted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.models.spherical.features import DegreeLinear
from tensornet_jax.ops.kernels.choice import choose, use_kernels
from tensornet_jax.ops.kernels.degree_linear import degree_linear_beside
from tests.ops.kernels.agreement import in_both_forms

pytestmark = pytest.mark.usefixtures("x64")

SPECIES = jnp.asarray([0, 2, 2, 0, 2])


def layer(widths, num_species, dtype):
    """A layer, its parameters and parts of five atoms, of which no whole block can be made."""
    rng = np.random.default_rng(0)
    parts = [
        jnp.asarray(rng.normal(size=(5, 2 * degree + 1, width)), dtype)
        for degree, width in enumerate(widths)
    ]
    linear = DegreeLinear(32, dtype, num_species)
    return linear, linear.init(jax.random.key(0), parts, SPECIES), parts


@pytest.mark.parametrize(
    ("widths", "num_species"), [((32, 16), 0), ((32, 32), 0), ((32, 32), 3), ((16,), 3)]
)
def test_values_and_two_derivatives_are_those_of_the_plain_form(widths, num_species):
    linear, variables, parts = layer(widths, num_species, "float64")

    def loss(variables, parts):
        found = linear.apply(variables, parts, SPECIES)
        assert isinstance(found, list)
        return sum(jnp.sum(jnp.sin(each)) for each in found), found

    def of_gradient(*arguments):
        gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)(*arguments)[0]
        return sum(jnp.sum(jnp.cos(each)) for each in jax.tree.leaves(gradient))

    def derivatives(*arguments):
        first = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(*arguments)
        return first, jax.grad(of_gradient, argnums=(0, 1))(*arguments)

    for value, expected in zip(*in_both_forms(derivatives, variables, parts), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * scale)


def test_the_cotangent_of_what_comes_out_beside_is_added_in_the_kernel():
    """To second order: ∂/∂x of both is one call."""
    _, variables, parts = layer((32, 32), 0, "float64")
    kernels = tuple(variables["params"].values())

    def loss(parts, kernels):
        given, mixed = choose(degree_linear_beside, plain, tuple(parts), kernels, fits=True)
        return sum(jnp.sum(jnp.sin(each)) for each in (*given, *mixed))

    def plain(parts, kernels):
        return parts, tuple(part @ matrix for part, matrix in zip(parts, kernels, strict=True))

    def of_gradient(*arguments):
        gradient = jax.grad(loss, argnums=(0, 1))(*arguments)
        return sum(jnp.sum(jnp.cos(each)) for each in jax.tree.leaves(gradient))

    def derivatives(*arguments):
        first = jax.value_and_grad(loss, argnums=(0, 1))(*arguments)
        return first, jax.grad(of_gradient, argnums=(0, 1))(*arguments)

    for value, expected in zip(*in_both_forms(derivatives, parts, kernels), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * scale)
    with use_kernels("interpret"):
        traced = str(jax.make_jaxpr(jax.grad(loss))(tuple(parts), kernels))
    assert traced.count("pallas_call[") == 2


def test_float32_has_the_digits_of_float32():
    linear, variables, parts = layer((32, 16, 48), 0, "float32")
    for value, expected in zip(*in_both_forms(linear.apply, variables, parts), strict=True):
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
