"""What every model returns, and what one that says nothing about itself can do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.config import ModelConfig


def test_outputs_have_by_name_what_is_there():
    energies, tensor = jnp.arange(3.0), jnp.eye(3)[None]
    outputs = ModelOutputs(energies=energies, tensors={"polarizability": tensor})
    assert set(outputs) == {"energies", "polarizability"}
    assert len(outputs) == 2
    assert outputs["polarizability"] is tensor
    assert "dipole" not in outputs
    assert outputs.get("charges") is None


def test_outputs_go_through_compiled_functions():
    outputs = jax.jit(lambda x: ModelOutputs(energies=2 * x, tensors={"a": x}))(jnp.arange(3.0))
    assert isinstance(outputs, ModelOutputs)
    np.testing.assert_array_equal(outputs["energies"], [0, 2, 4])
    assert outputs.dipole is None


def test_a_model_without_functions_of_distance_says_so():
    with pytest.raises(NotImplementedError):
        Model(ModelConfig(), (1,)).radial_functions(jnp.zeros(1), (0, 0))
    with pytest.raises(ValueError, match="no functions of distance alone"):
        ModelConfig.model_validate({"compression": {"rank": 8, "intervals": 8}})
