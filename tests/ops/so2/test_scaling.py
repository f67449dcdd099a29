"""Features of edges times factors of their degrees: the kernels against the plain forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tensornet_jax.ops.rotations.edge_layout import EdgeLayout
from tensornet_jax.ops.so2 import scaling
from tests.ops.rotations.test_edge_features import BOTH, found_by
from tests.tolerances import OP

NUM_EDGES, CHANNELS = 12, 4


def arguments(name: str, dtype: str = "float64") -> tuple:
    rng = np.random.default_rng(0)
    layout = EdgeLayout(2, 1, 1)
    shapes = layout.shapes(NUM_EDGES, CHANNELS)
    messages, others = (
        tuple(jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes) for _ in range(2)
    )
    factors = jnp.asarray(rng.normal(size=(NUM_EDGES, 3, CHANNELS)), dtype)
    return (messages, factors) if name == "scale_degrees" else (messages, factors, others)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["scale_degrees", "cotangents"])
def test_kernels_are_the_plain_forms_to_second_order(name):
    function, given = getattr(scaling, name), arguments(name)
    expected, found = (found_by(m, function, given, order=2) for m in BOTH)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=OP * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("name", ["scale_degrees", "cotangents"])
def test_kernels_are_the_plain_forms_in_float32(name):
    function, given = getattr(scaling, name), arguments(name, "float32")
    expected, found = (found_by(m, function, given, order=0) for m in BOTH)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["scale_degrees", "cotangents"])
def test_derivatives_are_right(name):
    check_grads(getattr(scaling, name), arguments(name), order=2, modes=["rev"])


@pytest.mark.usefixtures("x64")
def test_every_degree_has_its_factor():
    messages, factors = arguments("scale_degrees")
    found = scaling.scale_degrees(messages, factors)
    np.testing.assert_allclose(found[0][:, 0, 2], messages[0][:, 0, 2] * factors[:, 2], rtol=OP)
    np.testing.assert_allclose(found[1][:, 1, 0], messages[1][:, 1, 0] * factors[:, 1], rtol=OP)
