"""The kernels of messages by paths against the plain form, interpreted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.edges import slot_table
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.kernels.path_message import takes
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.edge_products import PathProduct
from tests.ops.kernels.agreement import in_both_forms

pytestmark = pytest.mark.usefixtures("x64")

CHANNELS = 16


@pytest.fixture
def edges():
    """Four connected atoms, one that has no neighbor, and a padding pair at a padding atom."""
    first, second = np.array([0, 0, 0, 1, 2, 5]), np.array([1, 2, 3, 2, 3, 5])
    receivers = np.concatenate([first, second]).astype(np.int32)
    senders = np.concatenate([second, first]).astype(np.int32)
    mask = np.array([True] * 5 + [False])
    slots = slot_table(receivers, np.tile(mask, 2), 6, 4)
    return EdgeIndex(*map(jnp.asarray, (receivers, senders, slots)))


def inputs(product, dtype, seed=0):
    """Weights, features and harmonics of the pairs' first edges."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(6, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    arrays = (
        rng.normal(size=(6, product.num_weights, CHANNELS)),
        rng.normal(size=(6, (product.l_in_max + 1) ** 2, CHANNELS)),
        solid_harmonics(vectors, product.l_max, "component"),
    )
    return tuple(jnp.asarray(each, dtype) for each in arrays)


def message_of(product, edges):
    """The message as a function of what padding does not reach."""
    signs = (-1.0) ** Degrees(0, product.l_max).of_components[:, None]
    valid = (np.arange(6) < 5)[:, None, None]

    def message(weights, features, of_pairs):
        both = jnp.stack([of_pairs, of_pairs * signs[:, 0].astype(of_pairs.dtype)])
        harmonics = both.reshape(-1, of_pairs.shape[1])
        parts = product(features, harmonics, jnp.where(valid, weights, 0), edges)
        return jnp.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    return message


def derivatives(message, arguments):
    """The message, the gradient of a function of it, and the gradient of one of that."""

    def loss(arguments):
        return jnp.sum(jnp.sin(message(*arguments)))

    def norm_of_gradient(arguments):
        return sum(jnp.sum(jnp.cos(each)) for each in jax.grad(loss)(arguments))

    first = jax.grad(loss)(arguments)
    return (message(*arguments), *first, *jax.grad(norm_of_gradient)(arguments))


@pytest.mark.parametrize(("l_in_max", "parity"), [(0, "even"), (1, "both")])
def test_values_and_two_derivatives_are_those_of_the_plain_form(edges, l_in_max, parity):
    product = PathProduct(l_in_max, 1, parity)
    arguments = inputs(product, "float64")
    assert takes(product.terms, arguments[1], arguments[0])
    message = message_of(product, edges)
    for value, expected in zip(
        *in_both_forms(lambda *each: derivatives(message, each), *arguments), strict=True
    ):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * scale)


def test_float32_has_the_digits_of_float32(edges):
    product = PathProduct(1, 2)
    (value,), (expected,) = in_both_forms(message_of(product, edges), *inputs(product, "float32"))
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_derivatives_can_be_mapped_over_cotangents(edges):
    """As Hessians are made."""
    product = PathProduct(0, 1)
    weights, features, of_pairs = inputs(product, "float64")

    def columns(of_pairs):
        def loss(of_pairs):
            return jnp.sum(message_of(product, edges)(weights, features, of_pairs) ** 2)

        directions = jnp.eye(of_pairs.size).reshape(-1, *of_pairs.shape)[:3]
        return jax.vmap(jax.vjp(jax.grad(loss), of_pairs)[1])(directions)

    (value,), (expected,) = in_both_forms(columns, of_pairs)
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("channels", [8, 40])
def test_other_numbers_of_channels_are_left_to_the_plain_form(channels):
    terms = PathProduct(1, 1).terms
    assert not takes(terms, jnp.zeros((1, 4, channels)), jnp.zeros((1, 4, channels)))
