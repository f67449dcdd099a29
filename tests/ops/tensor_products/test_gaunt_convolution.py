import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.rotations.edge_frames import edge_frames
from tensornet_jax.ops.tensor_products.gaunt_convolution import GauntConvolution
from tests.directions import special_directions
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32


def edges():
    """Axes, tilts from them, and directions in general."""
    return np.concatenate([special_directions(), np.random.default_rng(0).normal(size=(6, 3))])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def inputs(convolution, num_edges, channels=2):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(num_edges, channels, (convolution.l1_max + 1) ** 2))
    return x, rng.normal(size=(num_edges, channels, convolution.num_weights))


def apply(convolution, x, vectors, weights):
    """The convolution, from edge vectors (E, 3) and features (E, channels, size)."""
    frames = edge_frames(vectors[..., None, :], max(convolution.l1_max, convolution.l3_max))
    return convolution(x, frames, weights)


def dense(convolution, x, vectors, weights):
    """All coefficients, with our harmonics, for derivatives."""
    degrees = convolution.product.degrees[1].of_components
    normalized = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    filters = solid_harmonics(normalized, convolution.l2_max, convolution.normalization)
    filters = filters[..., None, :] * weights[..., degrees]
    tensor = jnp.asarray(convolution.product.coefficients())
    return jnp.einsum("...a,...b,abc->...c", x, filters, tensor)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("degrees", [(2, 2, 2), (1, 3, 2), (2, 0, 3), (0, 2, 2), (2, 2, 0)])
def test_convolution_is_the_pointwise_product_with_the_filter_signal(degrees):
    convolution = GauntConvolution(*degrees)
    # The reference's arccos loses digits at smaller tilts.
    vectors = np.concatenate([edges()[:12], edges()[-6:]])
    x, weights = inputs(convolution, len(vectors))
    a, b, c = map(sphere.fine_harmonics, degrees)
    y = sphere.harmonics(unit(vectors), degrees[1])[:, None]
    y = y * weights[..., convolution.product.degrees[1].of_components]
    expected = ((x @ a.T) * (y @ b.T) * sphere.fine_grid()[1]) @ c
    value = jax.jit(apply, static_argnums=0)(convolution, x, vectors, weights)
    assert sphere.relative_error(value, expected) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
def test_convolution_is_the_product_with_the_harmonics_of_the_edge(normalization):
    convolution = GauntConvolution(3, 2, 4, normalization)
    vectors = edges()
    x, _ = inputs(convolution, len(vectors))
    y = solid_harmonics(unit(vectors), 2, normalization)[:, None]
    x, frames = jnp.asarray(x), edge_frames(jnp.asarray(vectors[:, None]), 4)
    expected = convolution.product(x, y)
    assert sphere.relative_error(convolution(x, frames), expected) < OP
    # One set of weights for all, as the product's weights of y with ones for x and z.
    weights = jnp.array([0.3, -1.2, 0.7])
    all_weights = jnp.concatenate([jnp.ones(4), weights, jnp.ones(5)])
    expected = convolution.product(x, y, all_weights)
    assert sphere.relative_error(convolution(x, frames, weights), expected) < OP


@pytest.mark.usefixtures("x64")
def test_gradients_are_right_on_and_near_every_axis():
    convolution = GauntConvolution(2, 2, 2)
    vectors = edges()
    x, weights = inputs(convolution, len(vectors), channels=1)
    cotangent = np.random.default_rng(2).normal(size=(len(vectors), 1, 9))

    def gradients(function):
        def total(x, vectors, weights):
            return jnp.sum(cotangent * function(convolution, x, vectors, weights))

        return jax.jit(jax.grad(total, (0, 1, 2)))(x, vectors, weights)

    for value, expected in zip(gradients(apply), gradients(dense), strict=True):
        assert sphere.relative_error(value, np.asarray(expected)) < OP


@pytest.mark.usefixtures("x64")
def test_second_derivatives():
    convolution = GauntConvolution(1, 1, 1)
    vectors = np.array([[0.0, 1.0, 0.0], [0.3, -0.5, 0.8]])
    x, weights = inputs(convolution, len(vectors), channels=1)

    def total(x, vectors, weights):
        return jnp.sum(apply(convolution, x, vectors, weights) ** 2)

    check_grads(jax.jit(total), (x, vectors, weights), order=2, modes=["rev"])


@pytest.mark.usefixtures("x64")
def test_convolution_turns_and_inverts_with_the_structure():
    convolution = GauntConvolution(3, 2, 2)
    vectors = edges()
    x, weights = inputs(convolution, len(vectors))
    value = np.asarray(apply(convolution, x, vectors, weights))
    rotation = sphere.random_rotation()
    of_x, of_z = (sphere.rotation_of_features(rotation, l_max) for l_max in (3, 2))
    turned = apply(convolution, x @ of_x.T, vectors @ rotation.T, weights)
    assert sphere.relative_error(turned, value @ of_z.T) < OP
    px, pz = map(sphere.inversion_of_features, (3, 2))
    assert sphere.relative_error(apply(convolution, px * x, -vectors, weights), pz * value) < OP


def test_float32_loses_only_its_rounding():
    convolution = GauntConvolution(4, 4, 4)
    vectors = edges().astype(np.float32)
    x, weights = (part.astype(np.float32) for part in inputs(convolution, len(vectors)))
    value = apply(convolution, jnp.asarray(x), jnp.asarray(vectors), jnp.asarray(weights))
    assert value.dtype == jnp.float32
    y = sphere.harmonics(unit(vectors.astype(float)), 4)[:, None]
    y = y * weights[..., convolution.product.degrees[1].of_components]
    expected = np.einsum("eca,ecb,abz->ecz", x, y, convolution.product.coefficients())
    assert sphere.relative_error(value, expected) < OP_FLOAT32


def test_what_does_not_fit_is_refused():
    convolution = GauntConvolution(2, 1, 3)
    frames = edge_frames(jnp.ones((4, 3)), 3)
    with pytest.raises(ValueError, match=r"last axis of x \(4, 8\) must be 9"):
        convolution(jnp.ones((4, 8)), frames)
    with pytest.raises(ValueError, match=r"last axis of weights \(3,\) must be 2"):
        convolution(jnp.ones((4, 9)), frames, jnp.ones(3))
    with pytest.raises(ValueError, match="edge_frames with their l_max"):
        convolution(jnp.ones((4, 9)), edge_frames(jnp.ones((4, 3)), 2))
    with pytest.raises(ValueError, match="unknown normalization"):
        GauntConvolution(1, 1, 1, "unit")  # type: ignore[arg-type]
