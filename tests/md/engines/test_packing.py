"""A tree packed into one vector comes back to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.md.engines.packing import Packing


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_flags_and_integers_come_back(dtype, x64):
    tree = {
        "rows": jnp.asarray([[1.5, np.nan, -0.0], [np.inf, 1e-45, 3.0]], dtype),
        "flag": jnp.asarray(True),
        "counts": jnp.asarray([0, -1, 2**31 - 1, -(2**31), 0x7F800001], jnp.int32),
        "none": jnp.zeros((0, 3), dtype),
        "one": jnp.asarray(2.0, dtype),
    }
    packing = Packing.of(tree, dtype)
    assert hash(packing) == hash(Packing.of(jax.tree.map(jnp.zeros_like, tree), dtype))
    packed = jax.jit(packing.pack)(tree)
    assert packed.shape == (13,)
    back = jax.jit(lambda numbers: packing.unpack(jnp.where(jnp.isnan(numbers), numbers, numbers)))(
        packed
    )
    for name, values in tree.items():
        assert back[name].dtype == values.dtype
        np.testing.assert_array_equal(back[name], values)
