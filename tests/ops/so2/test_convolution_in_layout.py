"""The SO(2) convolution in the layout of accelerators against that of components."""

import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.rotations.edge_layout import EdgeLayout
from tensornet_jax.ops.so2.convolution import SO2Weights, convolve_in_layout, so2_convolution
from tests.tolerances import OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("mirror", [True, False])
def test_both_are_the_same_convolution(mirror):
    l_max, m_max, c_in, c_out, num_edges = 3, 2, 3, 2, 4
    rng = np.random.default_rng(11)

    def matrices(first):
        shapes = [(c_out, c_in, l_max + 1 - m, l_max + 1 - m) for m in range(first, m_max + 1)]
        return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)

    weights = SO2Weights(matrices(0), None if mirror else matrices(1))
    layout = EdgeLayout(l_max, m_max, 1)
    aligned = [jnp.asarray(rng.normal(size=s)) for s in layout.shapes(num_edges, c_in)]
    features = np.zeros((num_edges, c_in, layout.num_components))
    for degree, order in layout.rows:
        array, sign, row = layout.place(degree, order)
        features[..., degree**2 + degree + order] = aligned[array][:, sign, row]
    expected = so2_convolution(jnp.asarray(features), weights, mix_channels=True)
    found = convolve_in_layout(tuple(aligned), weights)
    for degree, order in layout.rows:
        array, sign, row = layout.place(degree, order)
        np.testing.assert_allclose(
            found[array][:, sign, row], expected[..., degree**2 + degree + order], atol=100 * OP
        )
