"""A run with its model: what follows from the model, and what it must be told."""

import pytest

from tensornet_jax.config import ConfigError, dump_config, parse_config
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig

WRITTEN = "directory: run\ndata: {train: a.xyz}\n"
STARTED = WRITTEN + "start: {model: trained.safetensors}\n"


def test_a_run_with_a_model_is_resolved_as_it_is():
    config = parse_config(WRITTEN + "model: {name: mace, l_max: 2}", RunConfig)
    run = ResolvedRun.of(config)
    assert run.model == config.model
    assert dump_config(run) == dump_config(config)
    assert parse_config(dump_config(run), ResolvedRun) == run


def test_a_run_that_leaves_its_model_to_a_file_is_not_resolved_yet():
    config = parse_config(STARTED, RunConfig)
    assert config.model is None
    with pytest.raises(ValueError, match=r"start\.model"):
        ResolvedRun.of(config)
    with pytest.raises(ConfigError, match="model: missing"):
        parse_config(STARTED, ResolvedRun)


def test_tensors_get_labels_and_a_loss_of_their_own():
    text = WRITTEN + "model: {name: tensornet, heads: [], tensors: [polarizability, shielding]}\n"
    text += "loss: {tensors: {shielding: {weight: 3.0}}}"
    run = ResolvedRun.of(parse_config(text, RunConfig)).completed()
    assert {name: term and term.weight for name, term in run.loss.tensors.items()} == {
        "polarizability": 1.0,
        "shielding": 3.0,
    }
    assert set(run.data.labels.tensors) == {"polarizability", "shielding"}
    # Nothing of energies, which this model does not predict.
    assert (run.loss.energy, run.loss.forces, run.loss.stress) == (None, None, None)
    assert run.data.reference_energies == "none"


def test_a_loss_of_tensors_alone_is_one_before_the_model_is_known():
    loss = "loss: {energy: null, forces: null, tensors: {polarizability: {weight: 1.0}}}"
    assert parse_config(STARTED + loss, RunConfig).model is None
    with pytest.raises(ConfigError, match="no term is left"):
        parse_config(STARTED + "loss: {energy: null, forces: null}", RunConfig)
