"""Tables with rows for elements are not decayed, whatever a model calls them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tensornet_jax.models import MODELS
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.train.config.optimizer import ConstantSchedule, OptimizerConfig
from tensornet_jax.train.optimization.optimizer import is_weight_matrix, make_optimizer
from tensornet_jax.train.optimization.tables import tables_of
from tests.models.every_model import NUMBERS, SMALL


def potential_of(name: str) -> Potential:
    """Return a potential whose parameters are all one; nothing is computed."""
    options = {"name": name, "cutoff": 3.5, "electronic_state": ["charge", "spin"], **SMALL[name]}
    config = MODELS[name][0].model_validate(options)
    blank = Potential(config, {}, ElementTable(NUMBERS, np.zeros(len(NUMBERS))))
    shapes = blank.variable_shapes()
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, jnp.float32), shapes)
    return blank.replace(variables=variables)


# One that only its shape betrays, and one that looks like it and is none.
KNOWN = {
    "tensornet": ("embedding/state/queries", "embedding/mixing/parts_0/kernel"),
    "tensornet2": ("embedding/pair_species/species/embedding", "embedding/gate_hidden/kernel"),
    "mace": ("element_0/kernel_0", "state/charge/kernel_0"),
    "escn": ("convolutions_0/EdgeNetwork_0/sender", "state/charge/kernel_0"),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_table_of_elements_or_charges_is_decayed_nor_orthogonalized(name):
    potential = potential_of(name)
    tables = tables_of(potential)
    params = potential.variables["params"]
    table, matrix = KNOWN[name]
    assert table in tables
    assert matrix not in tables
    assert any(path.endswith("charge_values") for path in tables)

    settings: dict[str, Any] = {"schedule": ConstantSchedule(), "weight_decay": 0.5}
    flat = by_path(params)
    for rule in ("adamw", "muon"):
        optimizer = make_optimizer(
            OptimizerConfig(name=rule, **settings), optax.constant_schedule(1.0), tables=tables
        )
        # Rows of elements that a batch does not hold have no gradient.
        gradients = jax.tree.map(jnp.zeros_like, params)
        found: Any = optimizer.update(gradients, optimizer.init(params), params)[0]
        updates = by_path(found)
        for path, leaf in flat.items():
            # Muon leaves stacks of matrices to Adam, which decays nothing there.
            decayed = is_weight_matrix(path, leaf, tables) and (rule != "muon" or leaf.ndim == 2)
            assert bool((updates[path] != 0).all()) == decayed, path
            assert bool((updates[path] != 0).any()) == decayed, path


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_parameter_with_a_row_for_each_element_is_a_table(name):
    potential = potential_of(name)
    tables = tables_of(potential)
    size = len(NUMBERS)
    one_more = Potential(potential.config, {}, ElementTable((*NUMBERS, 79), np.zeros(size + 1)))
    longer = by_path(one_more.variable_shapes()["params"])
    for path, leaf in by_path(potential.variables["params"]).items():
        if longer[path].shape != leaf.shape:
            assert path in tables


def test_read_outs_of_several_levels_are_tables_of_heads():
    options = {"name": "tensornet", "cutoff": 3.5, **SMALL["tensornet"], "levels": ["a", "b"]}
    config = MODELS["tensornet"][0].model_validate(options)
    blank = Potential(config, {}, ElementTable(NUMBERS, np.zeros((2, len(NUMBERS)))))
    tables = tables_of(blank.replace(variables=blank.variable_shapes()))
    assert {"readouts_energy/hidden/kernel", "readouts_energy/output/bias"} <= tables
    assert "linear/kernel" not in tables
