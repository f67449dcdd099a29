import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.edges import slot_table
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.messages.edge_products import edge_product
from tensornet_jax.ops.messages.message import EdgeIndex
from tensornet_jax.ops.tensor_products import PRODUCTS
from tests.ops.tensor_products import sphere
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")

L_IN, L_MAX, CHANNELS = 1, 2, 3


@pytest.fixture
def graph():
    """Three atoms, all connected, and one padding pair at a padding atom."""
    first, second = np.array([0, 0, 1, 3]), np.array([1, 2, 2, 3])
    receivers = np.concatenate([first, second]).astype(np.int32)
    senders = np.concatenate([second, first]).astype(np.int32)
    mask = np.array([True, True, True, False] * 2)
    slots = slot_table(receivers, mask, 4, 4)
    return EdgeIndex(*map(jnp.asarray, (receivers, senders, slots))), mask


def arguments(product, num_pairs=4, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(4, (L_IN + 1) ** 2, CHANNELS))
    vectors = rng.normal(size=(num_pairs, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    harmonics = solid_harmonics(np.concatenate([vectors, -vectors]), L_MAX, "component")
    weights = rng.normal(size=(num_pairs, product.num_weights, CHANNELS))
    weights[-1] = 0
    return tuple(map(jnp.asarray, (features, harmonics, weights)))


@pytest.mark.parametrize("parity", ["even", "both"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_result_is_the_sum_of_products_edge_by_edge(graph, name, parity):
    edges, mask = graph
    product = edge_product(name, L_IN, L_MAX, parity)
    features, harmonics, weights = arguments(product)
    found = product(features, harmonics, weights, edges)
    plain = PRODUCTS[name](L_IN, L_MAX, L_MAX, "component", parity)
    tensor, degrees = plain.coefficients(), [Degrees(0, L) for L in (L_IN, L_MAX, L_MAX)]
    by_path = name == "clebsch_gordan"
    expected = {
        degree: np.zeros((4, 2 * degree + 1, product.num_copies[degree], CHANNELS))
        for degree in degrees[2]
    }
    for e in np.flatnonzero(mask):
        i, j, pair = int(edges.receivers[e]), int(edges.senders[e]), e % 4
        copies = dict.fromkeys(degrees[2], 0)
        for number, (l1, l2, l3) in enumerate(plain.paths):
            block = tuple(d.slice(each) for d, each in zip(degrees, (l1, l2, l3), strict=True))
            value = np.einsum(
                "abm,ac,b->mc", tensor[block], features[j, block[0]], harmonics[e, block[1]]
            )
            weight = weights[pair, number if by_path else l2]
            expected[l3][i, :, copies[l3]] += value * np.asarray(weight)
            copies[l3] += by_path
    for degree, part in enumerate(found):
        wanted = expected[degree].reshape(part.shape)
        assert sphere.relative_error(part, wanted) < OP


def test_unknown_products_are_named():
    with pytest.raises(ValueError, match="unknown product 'gaunt'"):
        edge_product("gaunt", 1, 1, "even")
