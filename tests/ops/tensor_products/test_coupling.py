import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.tensor_products import ClebschGordan
from tests.tolerances import OP, OP_FLOAT32

pytestmark = pytest.mark.usefixtures("x64")

FORMS = ("auto", "dense", "fused", "sparse")
CASES = {
    "unequal degrees": {"l1_max": 2, "l2_max": 3, "l3_max": 4},
    "odd paths": {
        "l1_max": 3,
        "l2_max": 1,
        "l3_max": 2,
        "normalization": "component",
        "parity": "odd",
    },
    "some degrees": {
        "l1_max": 2,
        "l2_max": 2,
        "l3_max": 3,
        "l1_min": 2,
        "l2_min": 1,
        "l3_min": 1,
        "normalization": "norm",
    },
}


def by_loop(product: ClebschGordan, x, y, weights=None) -> np.ndarray:
    """The product path by path in NumPy."""
    first, second, third = product.degrees
    z = 0
    for number, path in enumerate(product.paths):
        factor = {
            "integral": 1,
            "component": np.sqrt(2 * path.l3 + 1),
            "norm": np.sqrt((2 * path.l1 + 1) * (2 * path.l2 + 1)),
        }[product.normalization]
        part = factor * np.einsum(
            "...a,...b,abc->...c",
            x[..., first.slice(path.l1)],
            y[..., second.slice(path.l2)],
            clebsch_gordan(*path),
        )
        if weights is not None:
            part = part * weights[..., number, None]
        whole = np.zeros((*part.shape[:-1], third.size))
        whole[..., third.slice(path.l3)] = part
        z = z + whole
    return np.asarray(z)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_every_form_is_the_sum_over_paths(case, form):
    product = ClebschGordan(**CASES[case], form=form)
    rng = np.random.default_rng(0)
    first, second, _ = product.degrees
    x, y = rng.normal(size=(5, 3, first.size)), rng.normal(size=(5, 1, second.size))
    for weights in (
        None,
        rng.normal(size=product.num_weights),
        rng.normal(size=(5, 3, product.num_weights)),
    ):
        expected = by_loop(product, x, y, weights)
        z = jax.jit(product)(x, y, weights)
        np.testing.assert_allclose(z, expected, rtol=OP, atol=OP)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_plain_contraction(form):
    product = ClebschGordan(2, 2, 2, form=form)
    rng = np.random.default_rng(1)
    x, y = jnp.asarray(rng.normal(size=(2, 4, 9)))
    weights = jnp.asarray(rng.normal(size=product.num_weights))
    numbers = np.full((9, 9, 9), -1)
    degrees = product.degrees[0]
    for number, path in enumerate(product.paths):
        numbers[degrees.slice(path.l1), degrees.slice(path.l2), degrees.slice(path.l3)] = number
    tensor = jnp.asarray(product.coefficients())

    def plain(x, y, weights):
        return jnp.einsum("na,nb,abc->nc", x, y, tensor * weights[numbers])

    def hessian_vector(function):
        def loss(*arguments):
            return jnp.sum(jnp.sin(function(*arguments)))

        def squared_gradient(*arguments):
            gradients = jax.grad(loss, argnums=(0, 1, 2))(*arguments)
            return sum(jnp.sum(g**2) for g in gradients)

        return jax.jit(
            lambda *a: (
                jax.grad(loss, argnums=(0, 1, 2))(*a),
                jax.grad(squared_gradient, argnums=(0, 1, 2))(*a),
            )
        )

    found = hessian_vector(product)(x, y, weights)
    expected = hessian_vector(plain)(x, y, weights)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=OP, atol=100 * OP), found, expected
    )


@pytest.mark.parametrize("form", FORMS)
def test_float32_stays_float32(form):
    product = ClebschGordan(3, 3, 3, form=form)
    x, y = np.random.default_rng(2).normal(size=(2, 20, 16)).astype("f")
    z = jax.jit(product)(x, y)
    assert z.dtype == jnp.float32
    expected = by_loop(product, x, y)
    np.testing.assert_allclose(z, expected, rtol=0, atol=OP_FLOAT32 * np.abs(expected).max())


def test_component_normalization_keeps_the_variance_of_a_path():
    product = ClebschGordan(2, 3, 4, "component", l1_min=2, l2_min=3, l3_min=4)
    x, y = np.random.default_rng(3).normal(size=(2, 40_000, 7))
    z = np.asarray(product(x[:, :5], y))
    # Five standard errors of a variance from 40,000 samples of 9 components.
    assert np.mean(z**2) == pytest.approx(1, abs=5 * np.sqrt(2 / z.size) * 2)


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'quick'.*auto, dense, fused, sparse"):
        ClebschGordan(1, 1, 1, form="quick")  # pyright: ignore[reportArgumentType]
