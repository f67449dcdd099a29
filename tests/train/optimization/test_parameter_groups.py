"""Frozen parameters and learning rates by pattern."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.train.config.optimizer import ConstantSchedule, OptimizerConfig
from tensornet_jax.train.optimization.optimizer import make_optimizer
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups

PARAMS = {
    "embedding": {"norm": {"scale": np.ones(3)}, "table": {"embedding": np.ones((4, 3))}},
    "layers_0": {"kernel": np.ones((3, 3)), "bias": np.ones(3)},
    "layers_1": {"kernel": np.ones((3, 3)), "bias": np.ones(3)},
    "readout": {"kernel": np.ones((3, 1))},
}


def groups(**settings) -> ParameterGroups:
    return ParameterGroups.from_config(OptimizerConfig(**settings), PARAMS)


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("embedding", {"embedding/norm/scale", "embedding/table/embedding"}),
        ("embedding/", {"embedding/norm/scale", "embedding/table/embedding"}),
        ("embedding/table", {"embedding/table/embedding"}),
        ("layers_0/*", {"layers_0/kernel", "layers_0/bias"}),
        ("layers_*", {f"layers_{k}/{name}" for k in (0, 1) for name in ("kernel", "bias")}),
        ("*/bias", {"layers_0/bias", "layers_1/bias"}),
    ],
)
def test_a_pattern_is_the_beginning_of_paths(pattern, frozen):
    assert groups(frozen=(pattern,)).frozen == frozen


def test_of_several_factors_the_last_counts():
    found = groups(learning_rates={"layers_*": 0.1, "layers_1": 1.0, "*/bias": 2.0})
    assert found.factors == {"layers_0/kernel": 0.1, "layers_0/bias": 2.0, "layers_1/bias": 2.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen": ("embeding",)}, r"optimizer.frozen: .*'embeding'; did you mean 'embedding'\?"),
        ({"frozen": ("layer_7",)}, "Known: embedding, layers_0, layers_1, readout"),
        ({"frozen": ("*",)}, "nothing is left to train"),
        ({"learning_rates": {"redout": 2.0}}, "optimizer.learning_rates: .*'readout'"),
        ({"frozen": ("layers_*",), "learning_rates": {"layers_0": 2.0}}, "'layers_0' .* is frozen"),
    ],
)
def test_a_pattern_that_means_nothing_is_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        groups(**settings)


def test_what_is_frozen_is_taken_out_and_put_back():
    found = groups(frozen=("embedding", "*/bias"))
    trained = found.trained(PARAMS)
    assert set(by_path(trained)) == {"layers_0/kernel", "layers_1/kernel", "readout/kernel"}
    assert found.count(PARAMS) == 21
    merged = found.merged(PARAMS, jax.tree.map(lambda leaf: 2 * leaf, trained))
    assert jax.tree.structure(merged) == jax.tree.structure(PARAMS)
    assert {float(leaf.flat[0]) for leaf in by_path(merged).values()} == {1.0, 2.0}
    assert merged["layers_0"]["bias"] is PARAMS["layers_0"]["bias"]


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.usefixtures("x64")
def test_a_factor_multiplies_the_whole_step_decay_included(name):
    settings = OptimizerConfig(
        name=name, weight_decay=0.1, schedule=ConstantSchedule(), learning_rates={"layers_0": 0.25}
    )
    params = jax.tree.map(jnp.asarray, PARAMS)
    gradient = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params)
    found = []
    for factors in (ParameterGroups(), ParameterGroups.from_config(settings, params)):
        optimizer = make_optimizer(settings, optax.constant_schedule(1e-2), factors)
        updates: Any = optimizer.update(gradient, optimizer.init(params), params)[0]
        found.append(by_path(updates))
    for path, update in found[0].items():
        factor = 0.25 if path.startswith("layers_0") else 1.0
        np.testing.assert_allclose(found[1][path], factor * update, rtol=1e-14)
