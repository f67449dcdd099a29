"""Messages in kernels: the same sums and the same derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.models.tensornet.interaction import ActivatedFilter
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.kernels.choice import use_kernels
from tensornet_jax.ops.messages.combined_filters import convolve_combined
from tensornet_jax.ops.messages.densities import neighbor_densities
from tensornet_jax.ops.messages.pair_filters import convolve_filtered
from tests.ops.kernels.agreement import check_kernels, check_rules
from tests.ops.messages.test_message import NUM_ATOMS, random_edges

SIZES = (1, 3)
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    return request.param


def normal(seed: int, *shape: int, dtype: str) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def of_pairs(seed: int, *shape: int, dtype: str) -> jax.Array:
    return normal(seed, *shape, dtype=dtype).at[-1].set(0)


def features(width: int, dtype: str) -> tuple[jax.Array, ...]:
    return tuple(normal(d, NUM_ATOMS, d, width, dtype=dtype) for d in SIZES)


@pytest.mark.parametrize(("functions", "width"), [(3, 16), (4, 48)])
def test_messages_of_combined_filters(functions, width, dtype):
    edges = random_edges()
    basis = of_pairs(0, edges.num_pairs, functions, dtype=dtype)
    weights = tuple(normal(10 + k, functions, width, dtype=dtype) for k in range(2))

    def messages(basis, weights, features):
        return convolve_combined(basis, weights, features, edges)

    arrays = basis, weights, features(width, dtype)
    check_kernels(messages, *arrays, tolerance=TOLERANCES[dtype])
    if dtype == "float64":
        check_rules(messages, *arrays)


@pytest.mark.parametrize("width", [16, 48])
def test_messages_of_activated_filters(width, dtype):
    edges = random_edges()
    values = tuple(normal(k, edges.num_pairs, 1, width, dtype=dtype) for k in range(2))
    factor = normal(5, edges.num_pairs, dtype=dtype)
    mask = jnp.arange(edges.num_pairs) < edges.num_pairs - 1

    def messages(values, factor, features):
        factor = jnp.where(mask, factor, 0)
        return convolve_filtered(ActivatedFilter("silu"), values, factor, features, edges)

    arrays = values, factor, features(width, dtype)
    check_kernels(messages, *arrays, tolerance=2 * TOLERANCES[dtype])
    if dtype == "float64" and width == 16:
        check_rules(messages, *arrays)


@pytest.mark.parametrize(
    "activation",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name != "silu" else [])
        for name in ACTIVATIONS
    ],
)
def test_second_derivatives_of_activations_run_in_kernels(activation):
    """What training has: filters along directions, of two fields at once, and their cotangents."""
    edges = random_edges()
    values = normal(0, edges.num_pairs, 2, 16, dtype="float64")
    factor = normal(5, edges.num_pairs, dtype="float64").at[-1].set(0)

    def cotangents(values, features):
        def total(values, features):
            filter_of = ActivatedFilter(activation)
            _, found = convolve_filtered(filter_of, values, factor, features, edges)
            return sum(jnp.sum(part**2) for part in found)

        return jax.grad(total, argnums=(0, 1))(values, features)

    check_kernels(cotangents, values, features(16, "float64"), tolerance=1e-11)


@pytest.mark.parametrize("functions", [3, 4])
def test_densities_of_the_neighbors(functions, dtype):
    edges = random_edges()
    species = jnp.arange(NUM_ATOMS, dtype=jnp.int32) % 3
    geometry = normal(0, edges.num_pairs, 4, dtype=dtype)
    basis = of_pairs(1, edges.num_pairs, functions, dtype=dtype)

    def densities(geometry, basis):
        return neighbor_densities(geometry, basis, species, 3, edges, (1, -1, -1, -1))

    check_kernels(densities, geometry, basis, tolerance=TOLERANCES[dtype])
    if dtype == "float64":
        check_rules(densities, geometry, basis)


def test_channels_that_no_kernel_takes_are_left_to_xla():
    edges = random_edges()
    basis = of_pairs(0, edges.num_pairs, 4, dtype="float64")
    weights = tuple(normal(10 + k, 4, 6, dtype="float64") for k in range(2))
    with use_kernels("interpret"):
        traced = jax.make_jaxpr(convolve_combined)(basis, weights, features(6, "float64"), edges)
    assert "pallas_call" not in str(traced)
