import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.mace.restriction import clebsch_gordan_from_gaunt
from tests.builders import config_of, in_box
from tests.models.every_model import small_model


@pytest.mark.parametrize(
    "variant", ["mace gaunt_grid", pytest.param("mace gaunt_fourier", marks=pytest.mark.slow)]
)
def test_a_gaunt_model_is_a_clebsch_gordan_model_with_restricted_weights(variant):
    gaunt = small_model(variant)
    weights = dict(gaunt.variables["params"])
    config, params = clebsch_gordan_from_gaunt(config_of(gaunt, MACEConfig), weights)
    assert config.products == ("clebsch_gordan", "clebsch_gordan")
    full = gaunt.replace(config=config, variables={"params": params, "buffers": {}})
    assert full.num_parameters > gaunt.num_parameters
    atoms = in_box(molecule("CH3CH2OH"))
    atoms.rattle(0.1, seed=0)
    (expected,), (found,) = (p.evaluate(atoms, ("energies", "forces")) for p in (gaunt, full))
    for key, value in expected.items():
        assert abs(value).max() > 0.1
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-11 * abs(value).max())


def test_only_gaunt_models_are_restrictions_with_known_weights():
    model = small_model("mace matrix")
    with pytest.raises(ValueError, match="matrix"):
        clebsch_gordan_from_gaunt(config_of(model, MACEConfig), dict(model.variables["params"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_l_max": 4, "l_max": 3}, "hidden_l_max"),
        ({"radial_widths": [0]}, "radial_widths"),
        ({"heads": ["energy", "energy"]}, "twice"),
        ({"product": "gaunt"}, "product"),
        ({"correlation": 0}, "correlation"),
        (
            {"joint_embedding": [{"name": "charge", "width": 2}], "electronic_state": ["spin"]},
            "electronic_state must be the same",
        ),
        ({"readout_biases": True, "readout_width": None}, "needs a readout_width"),
    ],
)
def test_impossible_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MACEConfig.model_validate(fields)


def test_the_two_products_may_be_chosen_apart():
    config = MACEConfig(product="matrix", many_body_product="gaunt_grid")
    assert config.products == ("matrix", "gaunt_grid")


def test_mean_number_of_neighbours_is_taken_from_data_unless_given():
    assert MACEConfig().fitted(12.5).avg_num_neighbors == 12.5
    assert MACEConfig(avg_num_neighbors=3.0).fitted(12.5).avg_num_neighbors == 3.0
    assert MACEConfig().fitted(0.0).avg_num_neighbors is None
