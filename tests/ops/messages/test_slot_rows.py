"""Slots in rows, where atoms have very different numbers of neighbors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.edges import slot_table
from tensornet_jax.ops.messages import edge_products
from tensornet_jax.ops.messages.edge_products import edge_product
from tensornet_jax.ops.messages.message import EdgeIndex, sum_at_receivers, to_slots
from tensornet_jax.ops.messages.slot_rows import WIDTH, at_rows, slot_rows, sum_of_rows
from tests.builders import UNOPTIMIZED
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")

ATOMS = 40


@pytest.fixture
def edges():
    """One atom that all others are neighbors of, few other pairs, an atom alone and padding."""
    first = np.concatenate([np.zeros(ATOMS - 3), [1, 1, 2, 5, 5, 5], [ATOMS - 1] * 4])
    second = np.concatenate([np.arange(1, ATOMS - 2), [2, 3, 3, 6, 7, 8], [ATOMS - 1] * 4])
    receivers = np.concatenate([first, second]).astype(np.int32)
    senders = np.concatenate([second, first]).astype(np.int32)
    mask = (receivers < ATOMS - 2) & (senders < ATOMS - 2)
    slots = slot_table(receivers, mask, ATOMS, ATOMS)
    return EdgeIndex(*map(jnp.asarray, (receivers, senders, slots)))


def in_edges(edges, *shape, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(edges.receivers), *shape))
    return jnp.asarray(values)


def test_every_edge_has_one_place_in_the_rows_of_its_receiver(edges):
    rows = slot_rows(edges)
    assert rows is not None
    slots, owners = np.asarray(rows.edges.slots), np.asarray(rows.owners)
    assert slots.shape == (len(owners), WIDTH)
    assert slots.size < 0.5 * edges.slots.size
    real = slots != len(edges.receivers) - 1
    used = np.asarray(edges.slots)[np.asarray(edges.slots) != len(edges.receivers) - 1]
    np.testing.assert_array_equal(np.sort(slots[real]), np.sort(used))
    for row, owner in enumerate(owners):
        assert (np.asarray(edges.receivers)[slots[row][real[row]]] == owner).all()
        # Rows without an owner are empty.
        assert owner < ATOMS or not real[row].any()


def test_sums_over_rows_are_sums_over_edges(edges):
    rows = slot_rows(edges)
    assert rows is not None
    values = in_edges(edges, 3)
    found = sum_of_rows(to_slots(values, rows.edges).sum(axis=1), rows)
    np.testing.assert_allclose(found, sum_at_receivers(values, edges), atol=OP)


def test_spreading_and_summing_are_transposes(edges):
    rows = slot_rows(edges)
    assert rows is not None
    rng = np.random.default_rng(0)
    of_rows = jnp.asarray(rng.normal(size=(len(rows.owners), 2)))
    of_atoms = jnp.asarray(rng.normal(size=(ATOMS, 2)))
    for function, argument, other in (
        (sum_of_rows, of_rows, of_atoms),
        (at_rows, of_atoms, of_rows),
    ):

        def product(argument, function=function, other=other):
            return jnp.vdot(function(argument, rows), other)

        plain, gradient = jax.value_and_grad(product)(argument)
        np.testing.assert_allclose(jnp.vdot(gradient, argument), plain, rtol=OP)


@pytest.mark.parametrize("l_in", [0, 1])
def test_products_and_two_derivatives_are_those_without_rows(edges, l_in, monkeypatch):
    product, channels = edge_product("clebsch_gordan", l_in, 2, "even"), 2
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(ATOMS, (l_in + 1) ** 2, channels)))
    harmonics = in_edges(edges, 9)
    pairs = len(edges.receivers) // 2
    weights = rng.normal(size=(pairs, product.num_weights, channels))
    weights[-4:] = 0

    def results(*arguments):
        def loss(features, harmonics, weights):
            sums = product(features, harmonics, weights, edges)
            return sum(jnp.sum(each**2) for each in sums)

        def of_gradients(*arguments):
            gradients = jax.grad(loss, argnums=(0, 1, 2))(*arguments)
            return sum(jnp.sum(each**2) for each in gradients)

        value = product(arguments[0], arguments[1], arguments[2], edges)
        return value, jax.grad(of_gradients, argnums=(0, 1, 2))(*arguments)

    arguments = features, harmonics, jnp.asarray(weights)
    found = jax.jit(results, compiler_options=UNOPTIMIZED)(*arguments)
    monkeypatch.setattr(edge_products, "slot_rows", lambda edges: None)
    expected = jax.jit(lambda *each: results(*each), compiler_options=UNOPTIMIZED)(*arguments)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12 * np.abs(other).max())


def test_even_numbers_of_neighbors_stay_as_they_are(edges):
    assert slot_rows(edges._replace(slots=edges.slots[:, :WIDTH])) is None
