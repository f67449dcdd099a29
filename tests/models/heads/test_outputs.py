"""The outputs of all models are made in one place, under the names that model files have."""

import numpy as np
import pytest

from tensornet_jax.models import MODELS
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.potential import ElementTable, Potential

HEADS = {"tensors": ["polarizability"], "priors": [{"name": "coulomb", "charges": "predicted"}]}
SHAPES = {
    "tensornet": {"num_channels": 4, "num_layers": 1},
    "tensornet2": {"num_channels": 4, "num_layers": 1, "coulomb": None},
    "mace": {"num_channels": 4, "num_layers": 1, "hidden_l_max": 2},
    "escn": {"num_channels": 4, "num_layers": 1},
}


@pytest.mark.parametrize("name", MODELS)
def test_heads_that_models_share_have_the_same_parameters(name):
    heads = {"tensors": HEADS["tensors"]} if name == "tensornet2" else HEADS
    config = MODELS[name][0].model_validate(SHAPES[name] | heads)
    potential = Potential(config, {}, ElementTable((1, 8), np.zeros(2)))
    paths = {path for path in by_path(potential.variable_shapes()) if "other_heads" in path}
    common = {
        "params/other_heads/tensors/polarizability/output_2/kernel",
        "buffers/other_heads/tensors/scales_polarizability",
    }
    charges = {f"params/other_heads/charges/{layer}/kernel" for layer in ("hidden", "charges")}
    assert common <= paths
    assert (charges <= paths) == config.sums_predicted_charges
