"""Messages in kernels: the same sums and the same derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_messages_of_given_filters(dtype):
    edges = random_edges()
    filters = tuple(of_pairs(k, edges.num_pairs, 1, 16, dtype=dtype) for k in range(2))

    def messages(filters, features):
        return convolve_filtered(filters, features, edges)

    check_kernels(messages, filters, features(16, dtype), tolerance=TOLERANCES[dtype])
    if dtype == "float64":
        check_rules(messages, filters, features(16, dtype))


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
