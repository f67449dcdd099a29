"""Random numbers drawn ahead are those that each step would draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.md.draws import bounded_gamma


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gamma_variables_with_a_known_number_of_candidates_are_those_of_jax(dtype, x64):
    shapes = jnp.repeat(jnp.asarray([0.5, 1.0, 1.5, 4.0, 300.0], dtype), 400)
    keys = jax.random.split(jax.random.key(3), len(shapes))
    expected = jax.vmap(lambda key, a: jax.random.gamma(key, a, dtype=dtype))(keys, shapes)
    found = jax.jit(bounded_gamma)(keys, shapes)
    assert found.dtype == dtype
    rounding = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=rounding, atol=rounding**2)
