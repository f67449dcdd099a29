"""Matrices of the frames of edges against those of the rotations that they are made for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.rotations.frame_matrices import frame_matrices
from tensornet_jax.ops.rotations.rotation import aligning_rotation, wigner_matrices
from tests.builders import UNOPTIMIZED
from tests.directions import special_directions
from tests.tolerances import OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("l_max", "m_max"), [(0, 0), (3, 2), (4, 4)])
def test_they_are_the_matrices_of_the_aligning_rotation(l_max, m_max):
    vectors = np.concatenate([special_directions(), np.random.default_rng(3).normal(size=(20, 3))])
    vectors = np.append(vectors, np.zeros((1, 3)), axis=0)

    def expected(vectors):
        found = []
        for degree, matrix in enumerate(wigner_matrices(aligning_rotation(vectors), l_max)):
            highest = min(degree, m_max)
            kept = matrix[:, degree - highest : degree + highest + 1]
            found.append(kept.transpose(1, 2, 0).reshape(-1, len(vectors)))
        return jnp.concatenate(found)

    cotangent = np.random.default_rng(4).normal(size=(len(expected(vectors)), len(vectors)))

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    def both(vectors):
        found, back = jax.vjp(lambda v: frame_matrices(v, l_max, m_max), vectors)
        known, back_known = jax.vjp(expected, vectors)
        return found, known, back(cotangent)[0], back_known(cotangent)[0]

    found, known, gradient, known_gradient = both(jnp.asarray(vectors))
    np.testing.assert_allclose(found, known, atol=OP)
    np.testing.assert_allclose(
        gradient, known_gradient, atol=10 * OP * max(1.0, np.abs(known_gradient).max())
    )
