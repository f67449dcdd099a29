"""A stage is done when its mark is there; a loop is that of its first configuration."""

import pytest

from tensornet_jax.active.layout import LoopDirectory, Stage
from tensornet_jax.config import ConfigError
from tensornet_jax.runtime.locks import InUseError
from tests.active.small import loop


def test_a_stage_is_done_once_it_is_noted(tmp_path):
    stage = Stage(tmp_path / "stage")
    stage.begin()
    assert not stage.is_done
    stage.finish({"σ": 0.5})
    assert stage.is_done
    assert stage.facts() == {"σ": 0.5}
    (tmp_path / "stage" / "done.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"done\.json: damaged .* delete it"):
        stage.facts()


def test_one_loop_runs_in_a_directory(tmp_path):
    directory = LoopDirectory(tmp_path / "loop")
    with (
        directory.held(),
        pytest.raises(InUseError, match="choose another directory"),
        LoopDirectory(tmp_path / "loop").held(),
    ):
        pass


def test_rounds_may_change_and_nothing_else(tmp_path):
    directory = LoopDirectory(tmp_path)
    directory.record(loop())
    directory.record(loop(rounds=7))
    with pytest.raises(ConfigError, match=r"began with train\.training\.epochs = 2, not 3"):
        directory.record(loop(**{"train.training.epochs": 3}))
    with pytest.raises(
        ConfigError, match=r"label\.calculator = 'ase\.calculators\.emt\.EMT', not None"
    ):
        directory.record(loop(label={"name": "wait"}))
