import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.messages.edge_matrices import mix, overlap
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("columns", [1, 4, 70])
def test_both_are_their_sums(columns):
    rng = np.random.default_rng(0)
    matrices, features = rng.normal(size=(5, 3, columns)), rng.normal(size=(5, columns, 6))
    found = mix(jnp.asarray(matrices), jnp.asarray(features))
    np.testing.assert_allclose(found, np.einsum("emn,enc->emc", matrices, features), rtol=OP)
    first = rng.normal(size=(5, 3, 6))
    found = overlap(jnp.asarray(first), jnp.asarray(features))
    np.testing.assert_allclose(found, np.einsum("emc,enc->emn", first, features), rtol=1e-10)


@pytest.mark.parametrize(("function", "shape"), [(mix, (2, 3, 4)), (overlap, (2, 3, 5))])
def test_derivatives_are_right_to_third_order(function, shape):
    first, second = (
        jax.random.normal(jax.random.key(k), s) for k, s in enumerate([shape, (2, 4, 5)])
    )
    check_grads(function, (first, second), order=3, modes=["rev"])
