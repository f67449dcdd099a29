"""Features of atoms in frames of edges: kernels against plain forms, and both against frames."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.graph.edges import slot_table
from tensornet_jax.ops.kernels.choice import KernelMode, use_kernels
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import at_receivers, at_senders, sum_at_receivers
from tensornet_jax.ops.rotations import edge_features
from tensornet_jax.ops.rotations.edge_frames import ByOrder, edge_frames
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout
from tensornet_jax.ops.rotations.frame_matrices import frame_matrices
from tests.builders import UNOPTIMIZED
from tests.tolerances import OP

BOTH: tuple[KernelMode, ...] = ("off", "interpret")
NUM_ATOMS, NUM_PAIRS, CHANNELS = 4, 6, 4


def some_edges() -> EdgeIndex:
    """Random pairs, the last of them padding; programs of eight edges share some of the twelve."""
    rng = np.random.default_rng(0)
    first = np.append(rng.integers(0, NUM_ATOMS - 1, NUM_PAIRS - 1), NUM_ATOMS - 1)
    second = np.append(rng.integers(0, NUM_ATOMS - 1, NUM_PAIRS - 1), NUM_ATOMS - 1)
    mask = np.arange(NUM_PAIRS) < NUM_PAIRS - 1
    receivers = np.concatenate([first, second]).astype(np.int32)
    senders = np.concatenate([second, first]).astype(np.int32)
    table = slot_table(receivers, np.concatenate([mask, mask]), NUM_ATOMS, 8)
    return EdgeIndex(*map(jnp.asarray, (receivers, senders, table)))


def arguments(layout: EdgeLayout, name: str, dtype: str = "float64", *, weighted: bool = True):
    """Random arguments of a function; messages of padding are zero."""
    rng, num_edges = np.random.default_rng(1), 2 * NUM_PAIRS

    def normal(*shape: int):
        return jnp.asarray(rng.normal(size=shape), dtype)

    features = normal(NUM_ATOMS, layout.num_components, CHANNELS)
    weights = normal(num_edges, layout.l_max + 1, layout.ends * CHANNELS) if weighted else None
    matrices = normal(layout.num_entries, num_edges)
    padding = np.array([NUM_PAIRS - 1, num_edges - 1])
    messages = tuple(
        normal(*shape).at[padding].set(0) for shape in layout.shapes(num_edges, CHANNELS)
    )
    return {
        "to_edges": (features, weights, matrices),
        "to_atoms": (weights, matrices, messages),
        "cotangents": (features, weights, matrices, messages),
    }[name]


def waves(tree) -> jax.Array:
    """A scalar whose derivatives by a tree of arrays are of every order."""
    return sum((jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def found_by(mode: KernelMode, function, given, *, order: int):
    """The function's values, and gradients of a wave of it and of a wave of these."""

    def derivatives(*given):
        found = [function(*given)]
        scalar = lambda given: waves(function(*given))  # noqa: E731
        for _ in range(order):
            gradient = jax.grad(scalar)
            found.append(gradient(given))
            scalar = lambda given, gradient=gradient: waves(gradient(given))  # noqa: E731
        return found

    with use_kernels(mode):
        return jax.tree.leaves(jax.jit(derivatives, compiler_options=UNOPTIMIZED)(*given))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("name", ["to_edges", "to_atoms", "cotangents"])
def test_kernels_are_the_plain_forms_to_second_order(name, weighted):
    layout = EdgeLayout(1, 0, 2) if weighted else EdgeLayout(1, 1, 1)
    function = partial(getattr(edge_features, name), layout)
    given = (*arguments(layout, name, weighted=weighted), some_edges())
    call = lambda *arrays: function(*arrays, given[-1])  # noqa: E731
    expected, found = (found_by(m, call, given[:-1], order=2) for m in BOTH)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=OP * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("name", ["to_edges", "to_atoms", "cotangents"])
def test_kernels_are_the_plain_forms_in_float32(name):
    layout = EdgeLayout(2, 1, 2)
    function = partial(getattr(edge_features, name), layout)
    given = (*arguments(layout, name, "float32"), some_edges())
    expected, found = (found_by(m, function, given, order=0) for m in BOTH)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["to_edges", "to_atoms", "cotangents"])
def test_derivatives_are_right(name):
    layout = EdgeLayout(1, 1, 2)
    function, given = getattr(edge_features, name), arguments(layout, name)
    edges = some_edges()

    real = np.arange(2 * NUM_PAIRS) % NUM_PAIRS < NUM_PAIRS - 1

    def unpadded(tree):
        """Arrays of edges with zeros for padding, which sums at the atoms leave out."""
        return tuple(jnp.where(real[:, None, None, None], part, 0) for part in tree)

    @jax.jit
    def call(*arrays):
        if name == "to_edges":
            return unpadded(function(layout, *arrays, edges))
        *others, messages = arrays
        return function(layout, *others, unpadded(messages), edges)

    check_grads(call, given, order=2, modes=["rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_features_turn_as_in_the_frames_of_edges():
    l_max, m_max, edges = 3, 2, some_edges()
    rng = np.random.default_rng(2)
    vectors = jnp.asarray(rng.normal(size=(2 * NUM_PAIRS, 3)))
    layout = EdgeLayout(l_max, m_max, 2)
    features, weights, _ = arguments(layout, "to_edges")
    ends = at_receivers(features, edges), at_senders(features, edges)
    frames = edge_frames(vectors[:, None], l_max)
    expected = frames.align(jnp.concatenate(ends, axis=-1).mT, m_max)
    matrices = frame_matrices(vectors, l_max, m_max)
    found = edge_features.to_edges(layout, features, jnp.ones_like(weights), matrices, edges)
    cosine = jnp.concatenate([part[:, 0] for part in found], axis=1).transpose(1, 0, 2)
    sine = jnp.concatenate([part[:, 1] for part in found[1:]], axis=1).transpose(1, 0, 2)
    np.testing.assert_allclose(cosine, expected.cosine, atol=OP)
    np.testing.assert_allclose(sine, expected.sine, atol=OP)

    of_receivers = tuple(part[..., :CHANNELS] for part in found)
    aligned = ByOrder(cosine[..., :CHANNELS], sine[..., :CHANNELS])
    expected = sum_at_receivers(frames.restore(aligned, l_max, m_max).mT, edges)
    layout = EdgeLayout(l_max, m_max, 1)
    summed = edge_features.to_atoms(layout, None, matrices, of_receivers, edges)
    np.testing.assert_allclose(summed, expected, atol=OP)
