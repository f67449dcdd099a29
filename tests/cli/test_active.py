"""`tensornet-jax active` as users run it."""

from pathlib import Path

import pytest

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.labelling.programs import WaitingForLabels
from tensornet_jax.active.loop import LoopResult
from tensornet_jax.config import dump_config
from tensornet_jax.train.failure import TrainingError
from tests.active.small import loop, write_files


@pytest.fixture
def config(cli, tmp_path):
    write_files(tmp_path)
    Path("active.yaml").write_text(dump_config(loop()), encoding="utf-8")


def ending(monkeypatch, outcome):
    def run(config, **_):
        assert isinstance(config, ActiveConfig)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("tensornet_jax.active.loop.run", run)


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (LoopResult(Path("m"), Path("r.md"), 2, "all 2 rounds are done"), 0, "all 2 rounds"),
        (WaitingForLabels("3 structures wait for labels"), 3, "3 structures wait for labels"),
        (TrainingError("no step is finite"), 1, "error: no step is finite"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
        (ValueError("nothing"), 2, "error: nothing"),
    ],
)
def test_how_a_loop_ends_is_told_by_the_exit_code(cli, config, monkeypatch, outcome, code, said):
    ending(monkeypatch, outcome)
    result = cli("active", "active.yaml")
    assert result.exit_code == code
    assert said in result.stdout + result.stderr


def test_a_wrong_key_is_told_with_its_line(cli, config):
    result = cli("active", "active.yaml", "--set", "explore.steps=many")
    assert result.exit_code == 2
    assert "steps" in result.stderr
    result = cli("active", "active.yaml", "--set", "lable.name=wait")
    assert "did you mean 'label'?" in result.stderr


def test_a_start_that_is_not_there_is_told_before_the_work(cli, config):
    Path("start.xyz").unlink()
    result = cli("active", "active.yaml")
    assert result.exit_code == 2
    assert "start.xyz: no such file" in result.stderr
    assert not Path("loop").exists()
