import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.safe import divide, norm

pytestmark = pytest.mark.usefixtures("x64")


def test_norm_is_numpys_and_its_derivatives_are_finite_at_zero():
    vectors = jnp.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1e-160, 0.0, 0.0]])
    np.testing.assert_allclose(norm(vectors[:2]), [5.0, 0.0])
    gradient = jax.grad(lambda v: norm(v).sum())(vectors)
    np.testing.assert_allclose(gradient[0], [0.6, 0.8, 0.0])
    np.testing.assert_array_equal(gradient[1], 0)
    assert np.isfinite(jax.hessian(lambda v: norm(v).sum())(vectors[:2])).all()


def test_divide_by_zero_is_zero_with_zero_gradient():
    value, gradient = jax.value_and_grad(divide, argnums=1)(2.0, 0.0)
    assert value == 0
    assert gradient == 0
    assert divide(jnp.asarray(3.0), jnp.asarray(2.0)) == 1.5
