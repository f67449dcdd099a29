from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.tensor_products.gaunt_grid import GauntGrid
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32

QUADRATURES = ["lebedev", "gauss_legendre"]
DEGREES = [(1, 1, 1), (2, 2, 2), (2, 3, 4), (3, 1, 2), (0, 2, 2), (6, 6, 6)]


class OneSizeTooSmall(GauntGrid):
    """A product that believes one degree less is enough."""

    @property
    def degree_needed(self):
        return super().degree_needed - 1


def features(*sizes, batch=(3,), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(*batch, size)) for size in sizes]


@cache
def integrals(l1_max, l2_max, l3_max):
    """∫ Y_a Y_b Y_c on a much finer grid with SciPy's harmonics."""
    a, b, c = map(sphere.fine_harmonics, (l1_max, l2_max, l3_max))
    weights = sphere.fine_grid()[1]
    pairs = (a[:, :, None] * b[:, None]).reshape(len(a), -1)
    tensor = pairs.T @ (weights[:, None] * c)
    return tensor.reshape(a.shape[1], b.shape[1], c.shape[1])


@pytest.mark.parametrize("degrees", DEGREES)
def test_coefficients_are_the_integrals_of_three_harmonics(degrees):
    assert sphere.relative_error(GauntGrid(*degrees).coefficients(), integrals(*degrees)) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_product_is_the_pointwise_product_of_two_signals(degrees, quadrature):
    x, y = features(*((l_max + 1) ** 2 for l_max in degrees[:2]))
    a, b, c = map(sphere.fine_harmonics, degrees)
    expected = ((x @ a.T) * (y @ b.T) * sphere.fine_grid()[1]) @ c
    product = GauntGrid(*degrees, quadrature=quadrature)
    assert sphere.relative_error(product(x, y), expected) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_product_is_the_contraction_with_its_coefficients(normalization, quadrature):
    product = GauntGrid(3, 2, 4, normalization, quadrature=quadrature, l1_min=1, l2_min=2, l3_min=1)
    x, y, weights = features(15, 5, product.num_weights)
    w1, w2, w3 = np.split(weights, np.cumsum([3, 1]), axis=1)
    tensor = product.coefficients()
    assert sphere.relative_error(product(x, y), np.einsum("na,nb,abc->nc", x, y, tensor)) < OP
    weighted = np.einsum(
        "na,nb,abc->nc", x * np.repeat(w1, [3, 5, 7], 1), y * np.repeat(w2, [5], 1), tensor
    ) * np.repeat(w3, [3, 5, 7, 9], 1)
    assert sphere.relative_error(product(x, y, weights), weighted) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("degrees", [(2, 2, 2), (2, 2, 4)])
def test_a_grid_one_size_too_small_is_wrong_and_refused(degrees, quadrature):
    exact = GauntGrid(*degrees, quadrature=quadrature)
    x, y = features(9, 9)
    aliased = OneSizeTooSmall(*degrees, quadrature=quadrature)(x, y)
    assert sphere.relative_error(aliased, exact(x, y)) > 1e-2
    needed = sum(degrees)
    with pytest.raises(ValueError, match=f"degree {needed - 1} is too small.*degree {needed} is"):
        GauntGrid(*degrees, quadrature=quadrature, degree=needed - 1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_a_larger_grid_gives_the_same(quadrature):
    x, y = features(16, 9)
    larger = GauntGrid(3, 2, 4, quadrature=quadrature, degree=31)
    assert len(larger.grid.weights) > len(GauntGrid(3, 2, 4, quadrature=quadrature).grid.weights)
    exact = GauntGrid(3, 2, 4, quadrature=quadrature)(x, y)
    assert sphere.relative_error(larger(x, y), exact) < OP


@pytest.mark.usefixtures("x64")
def test_product_turns_with_its_inputs_and_keeps_natural_parity():
    product = GauntGrid(3, 2, 4)
    x, y, weights = features(16, 9, product.num_weights)
    rotation = sphere.random_rotation()
    of_x, of_y, of_z = (sphere.rotation_of_features(rotation, l_max) for l_max in (3, 2, 4))
    turned = product(x @ of_x.T, y @ of_y.T, weights)
    assert sphere.relative_error(turned, product(x, y, weights) @ of_z.T) < OP
    px, py, pz = map(sphere.inversion_of_features, (3, 2, 4))
    # −px is a pseudo-tensor: natural parity times −1.
    for sign in (1, -1):
        inverted = product(sign * px * x, py * y, weights)
        assert sphere.relative_error(inverted, sign * pz * product(x, y, weights)) < OP


def test_even_is_all_the_parity_there_is():
    assert GauntGrid(3, 3, 3, parity="even").paths == GauntGrid(3, 3, 3).paths
    with pytest.raises(ValueError, match="couples nothing"):
        GauntGrid(3, 3, 3, parity="odd")


@pytest.mark.usefixtures("x64")
def test_first_and_second_derivatives():
    product = GauntGrid(2, 1, 2)
    x, y, weights = features(9, 4, product.num_weights, batch=(2,))
    check_grads(jax.jit(product), (x, y, weights), order=2, modes=["rev"])


def test_backward_pass_repeats_nothing():
    product = GauntGrid(4, 4, 4)
    x, y = (np.float32(a) for a in features(25, 25, batch=(100,)))

    def cost(function):
        analysis = jax.jit(function).lower(x, y).compile().cost_analysis()
        assert analysis is not None
        return analysis["flops"]

    # Three matrix products forward, three more backward.
    both = cost(jax.value_and_grad(lambda x, y: jnp.sum(product(x, y) ** 2), (0, 1)))
    assert both < 2.05 * cost(product)


@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("l_max", [4, 6])
def test_float32_loses_only_its_rounding(l_max, quadrature):
    product = GauntGrid(l_max, l_max, l_max, quadrature=quadrature)
    x, y = features((l_max + 1) ** 2, (l_max + 1) ** 2)
    value = product(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert value.dtype == jnp.float32
    expected = np.einsum("na,nb,abc->nc", x, y, product.coefficients())
    assert sphere.relative_error(value, expected) < OP_FLOAT32


def test_matrix_products_are_never_rounded_to_tensorfloat32():
    jaxpr = str(jax.make_jaxpr(GauntGrid(1, 1, 1))(np.ones((2, 4)), np.ones((2, 4))))
    assert jaxpr.count("dot_general") == jaxpr.count("Precision.HIGHEST, Precision.HIGHEST") == 3


@pytest.mark.usefixtures("x64")
def test_leading_axes_broadcast_and_map():
    product = GauntGrid(1, 2, 2)
    (x,), (y,) = features(4, batch=(5, 1)), features(9, batch=(3,))
    value = product(x, y)
    assert value.shape == (5, 3, 9)
    for mapped in (jax.jit(product), jax.vmap(product, (0, None))):
        assert sphere.relative_error(mapped(x, y), value) < OP


def test_integers_are_features_too():
    x, y = np.eye(4, dtype=int)[1], np.eye(4, dtype=int)[0]
    expected = np.asarray(x) / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(GauntGrid(1, 1, 1)(x, y), expected, atol=OP_FLOAT32)
