import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products import PRODUCTS
from tensornet_jax.ops.tensor_products.chain import ProductChain
from tensornet_jax.ops.tensor_products.many_body import GauntManyBody
from tests.ops.tensor_products import sphere
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


def factors(order, size, seed=0):
    return [jnp.asarray(x) for x in np.random.default_rng(seed).normal(size=(order, 4, size))]


@pytest.mark.parametrize("name", ["gaunt_fourier", "gaunt_grid", "vector_signal"])
@pytest.mark.parametrize(("l_max", "l_out_max"), [(2, 1), (1, 2)])
def test_chain_of_gaunt_products_is_the_product_of_the_signals(name, l_max, l_out_max):
    chain = ProductChain(name, l_max, l_out_max, 3)
    signals = factors(3, (l_max + 1) ** 2)
    found = chain.partial_products(signals)
    expected = GauntManyBody(l_max, l_out_max, 3).partial_products(signals)
    if name == "vector_signal":
        # It has the odd couplings besides, which meet for the first time in the third factor.
        assert sphere.relative_error(found[:, 2], np.asarray(expected[:, 2])) > 1e-3
        found, expected = found[:, :2], expected[:, :2]
    assert sphere.relative_error(found, np.asarray(expected)) < OP


@pytest.mark.parametrize("parity", ["even", "both"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_partial_products_turn_with_the_factors(name, parity):
    chain = ProductChain(name, 2, 1, 3, parity=parity)
    signals = factors(3, 9)
    turn = sphere.rotation_of_features(sphere.random_rotation(), 2)
    mirror = (-1.0) ** Degrees(0, 2).of_components
    for matrix, kept in ((turn, True), (turn * mirror[:, None], parity == "even")):
        found = chain.partial_products([x @ matrix.T for x in signals])
        expected = np.asarray(chain.partial_products(signals)) @ matrix[:4, :4].T
        gaunt = name.startswith("gaunt")
        assert (sphere.relative_error(found, expected) < OP) == (kept or gaunt)


def test_two_cross_products_make_a_vector_again():
    vectors = factors(3, 3)
    a, b, c = (jnp.pad(v, [(0, 0), (1, 0)]) for v in vectors)
    chain = ProductChain("clebsch_gordan", 1, 1, 3)
    found = chain.partial_products([a, b, c])[:, 2, 1:]
    a, b, c = map(np.asarray, vectors)
    # Clebsch–Gordan's 1 × 1 → 1 is the cross product over √6; 1 × 1 → 0 is the dot product over √3,
    # and 0 × 1 → 1 the product over √3; the rest goes through the traceless symmetric part.
    dot = np.sum(a * b, axis=-1, keepdims=True)
    symmetric = (a[:, :, None] * b[:, None, :] + b[:, :, None] * a[:, None, :]) / 2
    symmetric -= dot[:, :, None] * np.eye(3) / 3
    contracted = np.einsum("nij,nj->ni", symmetric, c)
    rest = np.asarray(found) - np.cross(np.cross(a, b), c) / 6 - dot * c / 3
    ratio = rest / contracted
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-10)


def test_powers_of_one_matrix_keep_natural_parity():
    """They commute, so nothing odd ever appears: M³ is the same with and without a parity."""
    (x,) = factors(1, 9)
    even, both = (ProductChain("matrix", 2, 2, 3, parity=p) for p in ("even", "both"))
    found = even.partial_products([x] * 3)
    assert sphere.relative_error(found, np.asarray(both.partial_products([x] * 3))) < OP


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="unknown product 'gaunt'"):
        ProductChain("gaunt", 1, 1, 2)
    with pytest.raises(ValueError, match="order of at least 1"):
        ProductChain("matrix", 1, 1, 0)
    chain = ProductChain("matrix", 1, 1, 2)
    with pytest.raises(ValueError, match="1 factors"):
        chain.partial_products(factors(1, 4))
    with pytest.raises(ValueError, match="must be 4"):
        chain.partial_products(factors(2, 9))
