"""The floating-point scope of potentials and of training."""

import jax
import jax.numpy as jnp
import pytest

from tensornet_jax.config import ConfigError, parse_config
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.train.config.run import RunConfig

RUN = "directory: runs/a\ndata: {train: a.xyz}\ntraining: {matmul_precision: tensorfloat32}\n"


def precision_of_products(*scope):
    """Return how a product of matrices is asked to be rounded when it is traced in a scope."""
    with precision_scope(*scope):
        x = jnp.ones((2, 2))
        jaxpr = jax.make_jaxpr(jnp.matmul)(x, x).jaxpr
    [precision] = {e.params["precision"] for e in jaxpr.eqns if "precision" in e.params}
    return precision


def test_products_are_exact_unless_asked_otherwise():
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert precision_of_products("float32") == highest
    assert precision_of_products("float32", "tensorfloat32") == (jax.lax.Precision.HIGH,) * 2
    assert precision_of_products("float32", "bfloat16") == (jax.lax.Precision.DEFAULT,) * 2


def test_training_in_float64_refuses_to_round_products():
    assert parse_config(RUN, RunConfig).training.matmul_precision == "tensorfloat32"
    with pytest.raises(ConfigError, match="never rounded: remove this, or set dtype: float32"):
        parse_config(RUN + "dtype: float64\n", RunConfig)
