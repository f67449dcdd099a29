from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.harmonics.angular_momentum import is_triangle
from tensornet_jax.ops.tensor_products.gaunt_grid import GauntGrid
from tensornet_jax.ops.tensor_products.vector_signal import VectorSignal
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32

QUADRATURES = ["lebedev", "gauss_legendre"]
DEGREES = [(1, 1, 1), (2, 2, 2), (2, 3, 4), (3, 1, 2), (6, 6, 6)]


class OneSizeTooSmall(VectorSignal):
    """A product that believes one degree less is enough."""

    @property
    def degree_needed(self):
        return super().degree_needed - 1


def features(*sizes, batch=(3,), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(*batch, size)) for size in sizes]


@cache
def tangential(l_max):
    """r∇Y/√(l(l+1)) on the fine grid, with zero for l = 0."""
    of_component = np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)
    length = np.sqrt(np.maximum(of_component * (of_component + 1), 1))
    return sphere.fine_gradients(l_max) / length[:, None]


def integral_of_products(x, y, degrees, parity):
    """∫ Y_c (f g + r̂·(F × G)) on a much finer grid, with SciPy's derivatives of harmonics."""
    a, b, c = map(sphere.fine_harmonics, degrees)
    values = 0.0
    if parity != "odd":
        values = values + (x @ a.T) * (y @ b.T)
    if parity != "even":
        f, g = (
            np.einsum("na,gai->ign", v, tangential(l_max))
            for v, l_max in zip((x, y), degrees, strict=False)
        )
        values = values + (f[0] * g[1] - f[1] * g[0]).T
    return (values * sphere.fine_grid()[1]) @ c


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("parity", ["both", "even", "odd"])
@pytest.mark.parametrize("degrees", DEGREES)
def test_product_is_that_of_scalar_and_of_tangential_signals(degrees, parity, quadrature):
    product = VectorSignal(*degrees, parity=parity, quadrature=quadrature)
    x, y = features(*((l_max + 1) ** 2 for l_max in degrees[:2]))
    expected = integral_of_products(x, y, degrees, parity)
    assert sphere.relative_error(product(x, y), expected) < OP
    contracted = np.einsum("na,nb,abc->nc", x, y, product.coefficients())
    assert sphere.relative_error(contracted, expected) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("parity", ["both", "odd"])
def test_product_is_the_contraction_with_its_coefficients(normalization, parity):
    product = VectorSignal(3, 2, 4, normalization, parity, l1_min=1, l2_min=2, l3_min=1)
    x, y = features(15, 5)
    contracted = np.einsum("na,nb,abc->nc", x, y, product.coefficients())
    assert sphere.relative_error(product(x, y), contracted) < OP


def test_every_path_is_alive():
    triangles = {
        (l1, l2, l3)
        for l1 in range(7)
        for l2 in range(7)
        for l3 in range(7)
        if is_triangle(l1, l2, l3)
    }
    product = VectorSignal(6, 6, 6)
    assert set(product.paths) == triangles
    assert min(map(product.path_factor, product.paths)) > 0.05


@pytest.mark.usefixtures("x64")
def test_two_vectors_make_their_cross_product():
    x, y = features(3, 3)
    product = VectorSignal(1, 1, 1, l1_min=1, l2_min=1, l3_min=1)
    assert product.degree_needed == 2
    # Y_1 = √(3/4π) r̂ and Φ_1 = √(3/8π) e × r̂, so ∫ Y_c r̂·(F × G) = √(3/4π) (x × y)_c/2.
    expected = np.sqrt(3 / (4 * np.pi)) / 2 * np.cross(x, y)
    assert sphere.relative_error(product(x, y), expected) < OP


@pytest.mark.usefixtures("x64")
def test_odd_part_is_antisymmetric_and_the_even_one_gaunts():
    x, y = features(16, 16)
    odd, even = (VectorSignal(3, 3, 3, parity=parity) for parity in ("odd", "even"))
    assert sphere.relative_error(odd(y, x), -np.asarray(odd(x, y))) < OP
    assert sphere.relative_error(even(x, y), np.asarray(GauntGrid(3, 3, 3)(x, y))) < OP


@pytest.mark.usefixtures("x64")
def test_weights_are_a_set_for_even_and_a_set_for_odd_sums():
    both, even, odd = (VectorSignal(2, 1, 2, parity=p) for p in ("both", "even", "odd"))
    assert (both.num_weights, even.num_weights, odd.num_weights) == (16, 8, 8)
    x, y, weights = features(9, 4, 16)
    expected = even(x, y, weights[:, :8]) + odd(x, y, weights[:, 8:])
    assert sphere.relative_error(both(x, y, weights), expected) < OP
    w1, w2, w3 = np.split(weights[:, 8:], [3, 5], axis=1)
    contracted = np.einsum(
        "na,nb,abc->nc",
        x * np.repeat(w1, [1, 3, 5], 1),
        y * np.repeat(w2, [1, 3], 1),
        odd.coefficients(),
    ) * np.repeat(w3, [1, 3, 5], 1)
    assert sphere.relative_error(odd(x, y, weights[:, 8:]), contracted) < OP
    # A scalar has no tangential field: nothing is odd, and there are no weights for it.
    assert VectorSignal(0, 2, 2).num_weights == 1 + 3 + 3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize(
    ("degrees", "parity", "needed"),
    [((2, 2, 2), "even", 6), ((2, 2, 2), "both", 6), ((2, 2, 3), "odd", 6), ((1, 2, 2), "odd", 4)],
)
def test_a_grid_one_size_too_small_is_wrong_and_refused(degrees, parity, needed, quadrature):
    x, y = features(*((l_max + 1) ** 2 for l_max in degrees[:2]))
    expected = integral_of_products(x, y, degrees, parity)
    exact = VectorSignal(*degrees, parity=parity, quadrature=quadrature)
    assert exact.degree_needed == needed
    assert sphere.relative_error(exact(x, y), expected) < OP
    aliased = OneSizeTooSmall(*degrees, parity=parity, quadrature=quadrature)(x, y)
    assert sphere.relative_error(aliased, expected) > 1e-2
    with pytest.raises(ValueError, match=f"degree {needed - 1} is too small.*degree {needed} is"):
        VectorSignal(*degrees, parity=parity, quadrature=quadrature, degree=needed - 1)


@pytest.mark.usefixtures("x64")
def test_product_turns_with_its_inputs():
    product = VectorSignal(3, 2, 4)
    x, y, weights = features(16, 9, product.num_weights)
    rotation = sphere.random_rotation()
    of_x, of_y, of_z = (sphere.rotation_of_features(rotation, l_max) for l_max in (3, 2, 4))
    turned = product(x @ of_x.T, y @ of_y.T, weights)
    assert sphere.relative_error(turned, product(x, y, weights) @ of_z.T) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("parity", "sign"), [("even", 1), ("odd", -1)])
def test_inversion_makes_even_sums_tensors_and_odd_ones_pseudotensors(parity, sign):
    product = VectorSignal(3, 2, 4, parity=parity)
    x, y = features(16, 9)
    px, py, pz = map(sphere.inversion_of_features, (3, 2, 4))
    for of_x in (1, -1):
        expected = of_x * sign * pz * product(x, y)
        assert sphere.relative_error(product(of_x * px * x, py * y), expected) < OP


@pytest.mark.usefixtures("x64")
def test_first_and_second_derivatives():
    product = VectorSignal(2, 1, 2)
    x, y, weights = features(9, 4, product.num_weights, batch=(2,))
    check_grads(jax.jit(product), (x, y, weights), order=2, modes=["rev"])


def test_backward_pass_repeats_nothing():
    product = VectorSignal(4, 4, 4)
    x, y = (np.float32(a) for a in features(25, 25, batch=(100,)))

    def cost(function):
        analysis = jax.jit(function).lower(x, y).compile().cost_analysis()
        assert analysis is not None
        return analysis["flops"]

    both = cost(jax.value_and_grad(lambda x, y: jnp.sum(product(x, y) ** 2), (0, 1)))
    assert both < 2.05 * cost(product)


@pytest.mark.parametrize("parity", ["both", "odd"])
def test_float32_loses_only_its_rounding(parity):
    product = VectorSignal(4, 4, 4, parity=parity)
    x, y = features(25, 25)
    value = jax.jit(product)(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert value.dtype == jnp.float32
    expected = np.einsum("na,nb,abc->nc", x, y, product.coefficients())
    assert sphere.relative_error(value, expected) < OP_FLOAT32
