"""Functions of an atom's components in one kernel, and so are their derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.models.tensornet.layers import normalized, normalized_product, updated
from tensornet_jax.ops.by_atoms import Deferred, by_atoms, deferred, settled
from tensornet_jax.ops.cartesian import RankTwo, squared_norm, squared_norms
from tensornet_jax.ops.kernels.choice import use_kernels
from tests.ops.kernels.agreement import check_kernels, check_rules
from tests.ops.kernels.test_neighbor_sums import TOLERANCES, normal

pytestmark = pytest.mark.usefixtures("x64")


def tensor(seed: int, dtype: str = "float64", width: int = 16) -> RankTwo:
    parts = (normal(seed + d, 3, d, width, dtype=dtype) for d in (1, 3, 5))
    return RankTwo(*parts)


@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_products_of_tensors(group, dtype):
    own = [normal(40 + k, 1, 1, 16, dtype=dtype) for k in range(3)]
    factor = normal(50, 3, 1, 1, dtype=dtype)
    product = partial(by_atoms, partial(normalized_product, group))
    arrays = tensor(0, dtype), tensor(10, dtype), own, factor
    if group == "SO(3)":
        product, arrays = partial(_without_factor, product), arrays[:3]
    check_kernels(product, *arrays, tolerance=10 * TOLERANCES[dtype])


def _without_factor(product, *arrays):
    return product(*arrays, None)


def test_what_is_deferred_is_made_in_the_kernel_that_uses_it():
    def norms(one, update):
        later = deferred(updated, one, update, None)
        return by_atoms(squared_norms, later), by_atoms(normalized, later)

    check_kernels(norms, tensor(0), tensor(10), tolerance=1e-12)
    with use_kernels("interpret"):
        assert isinstance(deferred(updated, tensor(0), tensor(10), None), Deferred)
        assert str(jax.make_jaxpr(norms)(tensor(0), tensor(10))).count("pallas_call[") == 2
    with use_kernels("off"):
        assert isinstance(deferred(updated, tensor(0), tensor(10), None), RankTwo)


def test_the_rules_hold_to_second_order():
    def scaled(one, factor, number):
        return by_atoms(lambda t, f, n: [t.scaled(f * n), squared_norm(t)], one, factor, number)

    numbers = normal(0, 3, 1, 1, dtype="float64"), normal(1, 1, 1, 16, dtype="float64")
    check_kernels(scaled, tensor(0), *numbers, tolerance=1e-12)
    check_rules(scaled, tensor(0), *numbers)


def test_several_results_come_from_one_kernel():
    def both(one):
        return by_atoms(lambda t: [normalized(t), squared_norm(t)], one)

    check_kernels(both, tensor(0), tolerance=1e-12)
    with use_kernels("interpret"):
        assert str(jax.make_jaxpr(both)(tensor(0))).count("pallas_call[") == 1


def test_only_what_is_differentiated_by_costs():
    def gradient(one, two, factor):
        def of_update(update):
            return jnp.sum(squared_norm(by_atoms(updated, one, update, factor)))

        return jax.grad(of_update)(two)

    with use_kernels("interpret"):
        traced = jax.make_jaxpr(gradient)(tensor(0), tensor(10), jnp.ones((3, 1, 1)))
    # The kernel of the derivative writes one tensor, not three.
    written = [e for e in traced.jaxpr.eqns if "custom_vjp" in str(e.primitive)]
    assert all(len(e.outvars) == 1 for e in written)


def test_a_deferred_tensor_can_be_had():
    with use_kernels("interpret"):
        later = deferred(updated, tensor(0), tensor(10), None)
        found = settled(later)
        assert isinstance(found, RankTwo)
        again = later.value if isinstance(later, Deferred) else later
    expected = updated(tensor(0), tensor(10), None)
    for one, two, other in zip(found, again, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
        assert one is two
