from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.interop.e3nn import tensor_product
from tensornet_jax.ops.tensor_products import PRODUCTS
from tensornet_jax.runtime.quiet_imports import e3nn_jax
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


def features(irreps: str, seed: int) -> e3nn_jax.IrrepsArray:
    array = np.random.default_rng(seed).normal(size=(4, e3nn_jax.Irreps(irreps).dim))
    return e3nn_jax.IrrepsArray(irreps, jnp.asarray(array))


def test_clebsch_gordan_is_e3nns_product_with_its_paths_summed():
    x, y = features("0e + 1o + 2e", 0), features("0e + 1o + 2e", 1)
    ours = tensor_product(PRODUCTS["clebsch_gordan"](2, 2, 2, "component"), x, y)
    theirs = e3nn_jax.tensor_product(x, y, irrep_normalization="component").regroup()
    for (_, irrep), one in zip(ours.irreps, ours.chunks, strict=True):
        paths = theirs.filter([irrep]).array.reshape(4, -1, irrep.dim)
        assert one is not None
        np.testing.assert_allclose(one[:, 0], paths.sum(axis=1), rtol=OP, atol=OP)
    assert ours.irreps == e3nn_jax.Irreps("0e + 1o + 2e + 1e + 2o")


@pytest.mark.parametrize("name", PRODUCTS)
def test_result_is_equivariant_under_rotation_and_inversion(name):
    x, y = features("3x0e + 3x1o + 3x2e", 2), features("3x0o + 3x1e", 3)
    multiply = jax.jit(partial(tensor_product, PRODUCTS[name](2, 1, 3)))
    for matrix in (e3nn_jax.rand_matrix(jnp.array([0, 7], "uint32"), (), jnp.float64), -jnp.eye(3)):
        turned = multiply(x.transform_by_matrix(matrix), y.transform_by_matrix(matrix))
        expected = multiply(x, y).transform_by_matrix(matrix)
        assert turned.irreps == expected.irreps
        # e3nn's Wigner matrices go through Euler angles, which costs them some digits.
        np.testing.assert_allclose(turned.array, expected.array, rtol=0, atol=1e3 * OP)


def test_pseudo_inputs_give_pseudo_outputs():
    product = PRODUCTS["gaunt_grid"](1, 1, 2)
    z = tensor_product(product, features("2x0o + 2x1e", 4), features("0e + 1o", 5))
    assert z.irreps == e3nn_jax.Irreps("2x0o + 2x1e + 2x2o")


def test_weights_of_both_kinds_at_once_are_refused():
    product = PRODUCTS["clebsch_gordan"](1, 1, 1)
    x = features("0e + 1o", 6)
    with pytest.raises(ValueError, match="parity='even'"):
        tensor_product(product, x, x, jnp.ones(product.num_weights))


@pytest.mark.parametrize("irreps", ["0e + 1e", "2x0e + 1o", "1o + 0e", "0e + 1o + 2e"])
def test_irreps_that_do_not_fit_are_refused(irreps):
    product = PRODUCTS["clebsch_gordan"](1, 1, 1)
    with pytest.raises(ValueError, match="natural parity"):
        tensor_product(product, features(irreps, 7), features("0e + 1o", 8))
