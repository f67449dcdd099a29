"""Features of the last layer are derivatives of energies by its weights, in every model."""

import ase
import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models.config import ModelConfig, require_last_layer
from tensornet_jax.models.parameter_paths import by_path, nested
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.last_layer import last_layer_features, last_layer_weights
from tests.models.every_model import small_model

KINDS = ["tensornet", "tensornet as MatGL", "tensornet2", "mace", "escn truncated"]


def graph_of(potential: Potential, *frames: ase.Atoms):
    structures = [potential.structure(atoms) for atoms in frames]
    return to_device(batch_structures(structures, Capacity.holding(structures), potential.dtype))


def water() -> ase.Atoms:
    atoms = ase.build.molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_derivatives_of_energies_by_the_weights_of_the_last_layer(kind):
    potential = small_model(kind)
    module = potential.module
    with potential.precision():
        variables = jax.tree.map(jnp.asarray, potential.variables)
        params = by_path(variables["params"])
        graph = graph_of(potential, water())

        def energies(weights):
            merged = {**variables, "params": nested(params | weights)}
            outputs = module.apply(merged, graph)
            assert not isinstance(outputs, tuple)
            return outputs["energies"]

        def derivatives(last):
            return energies(last), jax.jacrev(energies)(last)

        last = {path: params[path] for path in potential.config.last_weights}
        before, expected = jax.jit(derivatives)(last)
        found = jax.jit(last_layer_features, static_argnums=0)(module, variables, graph)
        weights = last_layer_weights(module, variables)
        changed = jax.jit(energies)({path: 3 * leaf for path, leaf in last.items()})
    before, found, weights, changed = map(np.asarray, (before, found, weights, changed))
    rows = [np.reshape(expected[path], (len(found), -1)) for path in sorted(last)]
    np.testing.assert_allclose(found, np.concatenate(rows, axis=1), rtol=1e-12, atol=1e-13)
    assert np.abs(found).max() > 1e-3
    # No weight is left out whose energy is not linear: the change is that of the features alone.
    np.testing.assert_allclose(changed - before, 2 * found @ weights, rtol=1e-10, atol=1e-12)


def test_linear_read_outs_have_a_feature_for_each_scalar_of_each_layer():
    config = small_model("mace").config
    linear = config.model_copy(update={"num_layers": 3, "readout_width": None, "readouts": "all"})
    paths = ("energy_0/kernel_0", "energy_1/kernel_0", "energy_last/kernel_0")
    assert linear.last_weights == paths
    assert linear.model_copy(update={"readouts": "last"}).last_weights == paths[-1:]


def test_a_model_that_does_not_name_its_last_layer_is_refused():
    with pytest.raises(ValueError, match="needs the property last_weights"):
        require_last_layer(ModelConfig(name="own"))
