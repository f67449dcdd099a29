import jax
import numpy as np
import pytest

from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.potential.potential import Potential
from tests.builders import ELEMENTS, ethanol, in_box
from tests.models.every_model import small_model


def test_orders_beyond_m_max_matter():
    """Otherwise the truncation would not be one."""
    full, cut = (
        Potential(ESCNConfig(l_max=2, m_max=m_max), {}, ELEMENTS).variable_shapes()["params"]
        for m_max in (None, 1)
    )
    count_full, count_cut = (sum(x.size for x in jax.tree.leaves(shapes)) for shapes in (full, cut))
    assert count_full > count_cut


def test_no_order_beyond_l_max():
    with pytest.raises(ValueError, match="m_max"):
        ESCNConfig(l_max=2, m_max=3)


def test_result_does_not_depend_on_how_the_structure_lies_in_space():
    """The frames of the edges choose charts by direction; no choice may be seen."""
    potential = small_model("escn truncated")
    start = in_box(ethanol())
    turned = []
    for axis in ("x", "y", "z"):
        for angle in (90, 180, 1e-6):
            copy = start.copy()
            copy.rotate(angle, axis, rotate_cell=True)
            turned.append(copy)
    expected, *others = potential.evaluate([start, *turned])
    for found in others:
        assert found["energy"] == pytest.approx(expected["energy"], rel=1e-10)
        lengths = np.linalg.norm(found["forces"], axis=1)
        np.testing.assert_allclose(
            lengths, np.linalg.norm(expected["forces"], axis=1), atol=1e-9 * lengths.max()
        )


@pytest.mark.parametrize(
    "variant",
    ["escn truncated", "escn", "escn SO(3)"],
)
@pytest.mark.slow
def test_convolutions_by_clebsch_gordan_paths_are_the_same_function(variant):
    potential = small_model(variant)
    by_paths = potential.replace(
        config=potential.config.model_copy(update={"convolution": "clebsch_gordan"})
    )
    (expected,), (found,) = (p.evaluate(in_box(ethanol())) for p in (potential, by_paths))
    assert found["energy"] == pytest.approx(expected["energy"], rel=1e-11)
    np.testing.assert_allclose(found["forces"], expected["forces"], rtol=1e-9, atol=1e-10)
