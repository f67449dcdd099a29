"""Directed messages against dense sums, and their derivative rules against JAX's generic ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.messages import message
from tensornet_jax.ops.messages.directed_message import convolve_directed, edge_products
from tests.ops.messages.test_message import (
    NUM_ATOMS,
    assert_same,
    energy_like,
    random_edges,
    random_parts,
)

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def edges() -> message.EdgeIndex:
    return random_edges()


def edge_filters(seed: int, edges: message.EdgeIndex) -> tuple:
    """Return filters of every edge, 0 for the two padding edges."""
    padding = np.array([edges.num_pairs - 1, 2 * edges.num_pairs - 1])
    made = random_parts(seed, 2 * edges.num_pairs, lone=True)
    return tuple(f.at[padding].set(0) for f in made)


def by_scattering(filters, features, edges):
    return tuple(
        jax.ops.segment_sum(f * y[edges.senders], edges.receivers, NUM_ATOMS)
        for f, y in zip(filters, features, strict=True)
    )


def test_convolution_is_the_sum_over_arriving_edges(edges):
    filters, features = edge_filters(1, edges), random_parts(2, NUM_ATOMS)
    assert_same(
        convolve_directed(filters, features, edges), by_scattering(filters, features, edges)
    )


def test_equal_filters_in_both_directions_are_those_of_the_pair(edges):
    of_pairs = tuple(f[: edges.num_pairs] for f in edge_filters(1, edges))
    both, features = tuple(jnp.concatenate([f, f]) for f in of_pairs), random_parts(2, NUM_ATOMS)
    assert_same(
        convolve_directed(both, features, edges), message.convolve(of_pairs, features, edges)
    )


def test_products_of_an_edge_are_those_of_its_ends(edges):
    a, b = random_parts(3, NUM_ATOMS), random_parts(4, NUM_ATOMS)
    for found, x, y in zip(edge_products(a, b, edges), a, b, strict=True):
        for edge, (i, j) in enumerate(zip(edges.receivers, edges.senders, strict=True)):
            np.testing.assert_allclose(found[edge, 0], (x[j] * y[i]).sum(axis=0), rtol=1e-12)


def test_derivatives_are_those_of_the_sum_to_second_order(edges):
    filters, features = edge_filters(1, edges), random_parts(2, NUM_ATOMS)
    real = tuple(f != 0 for f in filters)

    def masked(aggregate):
        def energy(f, y):
            kept = tuple(jnp.where(r, x, 0) for r, x in zip(real, f, strict=True))
            return energy_like(aggregate)(kept, y, edges)

        return energy

    ours, plain = masked(convolve_directed), masked(by_scattering)
    for order in (jax.grad, lambda f, argnums: jax.grad(_squared(jax.grad(f, argnums)), argnums)):
        assert_same(
            order(ours, argnums=(0, 1))(filters, features),
            order(plain, argnums=(0, 1))(filters, features),
        )


def _squared(gradient):
    return lambda *arguments: sum(jnp.sum(x**2) for x in jax.tree.leaves(gradient(*arguments)))
