import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops import bilinear
from tensornet_jax.ops.bilinear import BilinearMap
from tests.tolerances import OP, OP_FLOAT32

pytestmark = pytest.mark.usefixtures("x64")

KERNELS = ("matrices", "outer", "terms")


def sparse_tensor(rng) -> np.ndarray:
    """A (3, 4, 5) tensor with a third of its entries, and one z without any."""
    tensor = rng.normal(size=(3, 4, 5)) * (rng.random((3, 4, 5)) < 0.35)
    tensor[:, :, 2] = 0
    return tensor


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [
        ((3,), (4,)),
        ((6, 3), (6, 4)),
        ((2, 6, 3), (2, 1, 4)),
        ((2, 1, 3), (2, 6, 4)),
        ((6, 3), (4,)),
    ],
)
def test_contraction_broadcasts_leading_axes(kernel, x_shape, y_shape):
    rng = np.random.default_rng(0)
    tensor = sparse_tensor(rng)
    x, y = rng.normal(size=x_shape), rng.normal(size=y_shape)
    expected = np.einsum("...a,...b,abc->...c", x, y, tensor)
    z = BilinearMap(tensor, kernel)(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(z, expected, rtol=OP, atol=OP)


@pytest.mark.parametrize("kernel", KERNELS)
def test_first_and_second_derivatives_match_finite_differences(kernel):
    rng = np.random.default_rng(1)
    contract = BilinearMap(sparse_tensor(rng), kernel)
    x, y = jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(rng.normal(size=(2, 4)))
    check_grads(lambda x, y: jnp.sin(contract(x, y)), (x, y), order=2, modes=["rev"])


def test_large_batches_are_cut_into_chunks_that_give_the_same_numbers(monkeypatch):
    rng = np.random.default_rng(2)
    tensor = sparse_tensor(rng)
    x, y = jnp.asarray(rng.normal(size=(23, 3))), jnp.asarray(rng.normal(size=(23, 4)))
    contract = BilinearMap(tensor)
    whole = contract(x, y)
    assert "scan" not in str(jax.make_jaxpr(contract)(x, y))
    monkeypatch.setattr(bilinear, "_CHUNK_ON_CPU", 5 * 15 * 8)
    monkeypatch.setattr(bilinear, "_CHUNK_ELSEWHERE", 5 * 15 * 8)
    contract = BilinearMap(tensor)
    assert "scan" in str(jax.make_jaxpr(contract)(x, y))
    np.testing.assert_allclose(contract(x, y), whole, rtol=OP, atol=OP)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_type_is_that_of_the_arguments(kernel):
    rng = np.random.default_rng(3)
    tensor = sparse_tensor(rng)
    x, y = rng.normal(size=(6, 3)).astype("f"), rng.normal(size=(6, 4)).astype("f")
    z = BilinearMap(tensor, kernel)(jnp.asarray(x), jnp.asarray(y))
    assert z.dtype == jnp.float32
    expected = np.einsum("na,nb,abc->nc", x, y, tensor)
    np.testing.assert_allclose(z, expected, rtol=OP_FLOAT32, atol=OP_FLOAT32)
