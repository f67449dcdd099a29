"""Aggregation against dense sums, and its own derivative rules against JAX's generic ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.graph.edges import slot_table
from tensornet_jax.ops.messages import message
from tests.builders import UNOPTIMIZED
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")

NUM_ATOMS, WIDTH = 7, 3
DEGREES = (1, 3, 5)


def random_edges() -> message.EdgeIndex:
    """Return random pairs, among them an atom with its own image and one padding pair."""
    rng = np.random.default_rng(0)
    first = np.append(rng.integers(0, NUM_ATOMS - 1, 11), [2, NUM_ATOMS - 1]).astype(np.int32)
    second = np.append(rng.integers(0, NUM_ATOMS - 1, 11), [2, NUM_ATOMS - 1]).astype(np.int32)
    mask = np.arange(13) < 12
    receivers = np.concatenate([first, second])
    table = slot_table(receivers, np.concatenate([mask, mask]), NUM_ATOMS, 12)
    index = (receivers, np.concatenate([second, first]), table)
    return message.EdgeIndex(*map(jnp.asarray, index))


@pytest.fixture
def edges() -> message.EdgeIndex:
    return random_edges()


def random_parts(seed: int, rows: int, *, lone: bool = False) -> tuple:
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=(rows, 1 if lone else d, WIDTH))) for d in DEGREES)


def pair_filters(seed: int, edges) -> tuple:
    return tuple(f.at[-1].set(0) for f in random_parts(seed, edges.num_pairs, lone=True))


def convolve_by_scattering(filters, features, edges):
    pair = jnp.arange(2 * edges.num_pairs) % edges.num_pairs
    return tuple(
        jax.ops.segment_sum(f[pair] * y[edges.senders], edges.receivers, NUM_ATOMS)
        for f, y in zip(filters, features, strict=True)
    )


def collect_by_scattering(geometry, weights, edges):
    return tuple(
        jax.ops.segment_sum(y[:, :, None] * w[:, None, :], edges.receivers, NUM_ATOMS)
        for y, w in zip(geometry, weights, strict=True)
    )


def edge_arrays(edges):
    rng = np.random.default_rng(5)
    mask = (np.arange(2 * edges.num_pairs) % edges.num_pairs != edges.num_pairs - 1)[:, None]
    geometry = tuple(jnp.asarray(rng.normal(size=(2 * edges.num_pairs, d))) for d in DEGREES)
    weights = tuple(
        jnp.asarray(rng.normal(size=(2 * edges.num_pairs, WIDTH)) * mask) for _ in DEGREES
    )
    return geometry, weights


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=OP, atol=10 * OP)


def energy_like(aggregate):
    """Return a scalar non-linear in everything, so that no derivative vanishes."""
    return lambda a, b, edges: sum(jnp.sum(jnp.sin(part)) for part in aggregate(a, b, edges))


def test_convolve_is_the_sum_over_neighbors(edges):
    filters, features = pair_filters(1, edges), random_parts(2, NUM_ATOMS)
    assert_same(
        message.convolve(filters, features, edges), convolve_by_scattering(filters, features, edges)
    )


def test_collect_is_the_sum_over_edges(edges):
    geometry, weights = edge_arrays(edges)
    assert_same(
        message.collect(geometry, weights, edges), collect_by_scattering(geometry, weights, edges)
    )


@pytest.mark.parametrize("kind", ["convolve", "collect"])
def test_first_and_second_derivatives_are_those_of_the_plain_form(edges, kind):
    if kind == "convolve":
        arguments = (pair_filters(1, edges), random_parts(2, NUM_ATOMS))
        ours, plain = message.convolve, convolve_by_scattering
    else:
        arguments = edge_arrays(edges)
        ours, plain = message.collect, collect_by_scattering
    masks = jax.tree.map(lambda x: (x != 0).astype(x.dtype), arguments)

    def gradients(aggregate):
        return jax.grad(energy_like(aggregate), argnums=(0, 1))(*arguments, edges)

    def squared_gradient(aggregate):
        def norm(a, b):
            first = jax.grad(energy_like(aggregate), argnums=(0, 1))(a, b, edges)
            # What arrives at padding pairs is masked by whoever made the filter.
            return sum(
                jnp.sum((m * g) ** 2 * jnp.cos(g))
                for g, m in zip(jax.tree.leaves(first), jax.tree.leaves(masks), strict=True)
            )

        return jax.grad(norm, argnums=(0, 1))(*arguments)

    def masked(tree):
        return jax.tree.map(lambda x, m: x * m, tree, masks)

    @partial(jax.jit, static_argnums=0, compiler_options=UNOPTIMIZED)
    def derivatives(aggregate):
        return masked(gradients(aggregate)), masked(squared_gradient(aggregate))

    assert_same(derivatives(ours), derivatives(plain))


def test_pair_products_differentiate_to_third_order(edges):
    a, b = random_parts(3, NUM_ATOMS), random_parts(4, NUM_ATOMS)

    def products(a, b):
        a, b = jax.tree.map(jnp.asarray, (a, b))
        found = message.pair_products(a, b, edges)
        return tuple(part[:-1] for part in found)  # the last pair is padding

    check_grads(jax.jit(products), (a, b), order=2, modes=["rev"], eps=1e-5)


def test_atom_values_at_edges_differentiate_without_scattering(edges):
    field = jnp.asarray(np.random.default_rng(6).normal(size=(NUM_ATOMS, WIDTH)))
    real = (np.arange(2 * edges.num_pairs) % edges.num_pairs != edges.num_pairs - 1)[:, None]

    def ours(field):
        at_ends = message.at_receivers(field, edges) * jnp.sin(message.at_senders(field, edges))
        return jnp.sum(jnp.where(real, at_ends, 0) ** 3)

    def plain(field):
        return jnp.sum(
            jnp.where(real, field[edges.receivers] * jnp.sin(field[edges.senders]), 0) ** 3
        )

    def squared_gradient(energy):
        return lambda field: jnp.sum(jax.grad(energy)(field) ** 2)

    for one, other in ((ours, plain), (squared_gradient(ours), squared_gradient(plain))):
        compiled = partial(jax.jit, compiler_options=UNOPTIMIZED)
        assert_same(compiled(jax.grad(one))(field), compiled(jax.grad(other))(field))
    assert "scatter" not in jax.jit(jax.grad(ours)).lower(field).as_text()


def test_slots_and_edges_are_rearrangements_and_each_others_transpose(edges):
    rng = np.random.default_rng(8)
    values = jnp.asarray(rng.normal(size=(2 * edges.num_pairs, WIDTH)))
    in_slots = jnp.asarray(rng.normal(size=(*edges.slots.shape, WIDTH)))
    real = (np.arange(2 * edges.num_pairs) % edges.num_pairs != edges.num_pairs - 1)[:, None]
    plain = jax.ops.segment_sum(jnp.where(real, values, 0), edges.receivers, NUM_ATOMS)
    there = message.to_slots(values, edges)
    assert_same(jnp.sum(there, axis=1), plain)
    assert_same(message._from_slots(there, edges), jnp.where(real, values, 0))
    assert_same(jnp.vdot(there, in_slots), jnp.vdot(values, message._from_slots(in_slots, edges)))

    def energy(values):
        return jnp.sum(jnp.sin(message.to_slots(values, edges)) * in_slots)

    check_grads(jax.jit(energy), (values,), order=2, modes=["rev"], eps=1e-5)


def test_pairs_are_the_same_on_both_edges_up_to_the_given_factor(edges):
    vectors = jnp.asarray(np.random.default_rng(9).normal(size=(edges.num_pairs, 3)))
    assert_same(message.on_both_edges(vectors), np.concatenate([vectors, vectors]))
    assert_same(message.on_both_edges(vectors, -1), np.concatenate([vectors, -vectors]))
    signs = np.array([1, -1, 1])
    assert_same(message.on_both_edges(vectors, signs), np.concatenate([vectors, vectors * signs]))


def test_scan_of_the_cpu_equals_the_fused_form_of_accelerators(edges):
    features = random_parts(2, NUM_ATOMS)

    def term(sender):
        return tuple(y[sender] for y in features)

    tables = (edges.senders[edges.slots],)
    assert_same(message._sum_over_slots(term, tables), message._gathered_sum(term, tables))
