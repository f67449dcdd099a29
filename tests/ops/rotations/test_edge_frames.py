"""Features turned into the frames of edges, against the Wigner matrices of the same rotation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.rotations.edge_frames import edge_frames, order_indices
from tensornet_jax.ops.rotations.rotation import aligning_rotation, rotate, wigner_matrices
from tests.directions import special_directions
from tests.tolerances import OP


@pytest.mark.usefixtures("x64")
def test_frames_do_what_the_matrices_of_the_aligning_rotation_do():
    vectors = np.concatenate([special_directions(), np.random.default_rng(3).normal(size=(20, 3))])
    vectors = np.append(vectors, np.zeros((1, 3)), axis=0)[:, None]
    features = jnp.asarray(np.random.default_rng(4).normal(size=(len(vectors), 2, 36)))

    @jax.jit
    def both_ways(vectors, features):
        expected = rotate(features, wigner_matrices(aligning_rotation(vectors), 5))
        frames = edge_frames(vectors, 6)
        aligned = frames.align(features, 5)
        return expected, aligned, frames.restore(aligned, 5, 5)

    expected, aligned, restored = both_ways(vectors, features)
    cosine, sine = order_indices(5, 5)
    np.testing.assert_allclose(np.moveaxis(aligned.cosine, 0, -1), expected[..., cosine], atol=OP)
    np.testing.assert_allclose(np.moveaxis(aligned.sine, 0, -1), expected[..., sine], atol=OP)
    np.testing.assert_allclose(restored, features, atol=OP)


@pytest.mark.usefixtures("x64")
def test_frames_serve_features_with_more_or_fewer_leading_axes():
    rng = np.random.default_rng(6)
    vectors, shared = rng.normal(size=(4, 1, 3)), jnp.asarray(rng.normal(size=(9,)))
    frames = edge_frames(vectors, 2)
    align = jax.jit(lambda features: frames.align(features, 1))
    restore = jax.jit(lambda aligned: frames.restore(aligned, 2, 1))
    alike, alone = align(jnp.broadcast_to(shared, (5, 4, 1, 9))), align(shared)
    assert alike.cosine.shape == (5, 5, 4, 1)
    assert alone.cosine.shape == (5, 4, 1)
    np.testing.assert_allclose(alike.cosine[:, 2], alone.cosine, rtol=0, atol=OP)
    np.testing.assert_allclose(restore(alike)[3], restore(alone), rtol=0, atol=OP)


def test_unfit_features_are_refused():
    frames = edge_frames(jnp.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="call edge_frames with their l_max"):
        frames.align(jnp.ones((2, 9)), 1)
    with pytest.raises(ValueError, match="m_max 2 must be from 0 to the highest degree 1"):
        frames.align(jnp.ones((2, 4)), 2)
    with pytest.raises(ValueError, match="l_max -1"):
        edge_frames(jnp.ones((2, 3)), -1)
