"""A run in pieces is the run in one piece, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase.io
import pytest

from tensornet_jax.config import dump_config
from tensornet_jax.models import MODELS
from tensornet_jax.runtime.checkpoint import FORMAT, CheckpointError, CheckpointStore
from tensornet_jax.train import loop
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.failure import TrainingError
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.builders import EXAMPLE
from tests.train.small import SETTINGS, PairConfig, PairModel, Recorder, clusters

# Everything that has a state of its own: moments, average, plateau, early stopping.
SECTIONS: dict[str, Any] = {
    "optimizer": {
        "name": "amsgrad",
        "learning_rate": 0.3,
        "ema_decay": 0.9,
        "schedule": {"name": "plateau", "patience": 1, "warmup_epochs": 1},
    },
    "training": {"epochs": 8, "batch_size": 5, "patience": 7},
}


def last_checkpoint(directory: Path) -> dict[str, Any]:
    """Return all arrays and the progress of the newest checkpoint."""
    step = CheckpointStore(directory / "checkpoints").steps()[-1]
    header, arrays = FORMAT.read(directory / "checkpoints" / f"{step}.safetensors")
    progress = header["progress"]
    # Wall time and compilations are those of the pieces.
    kept = {k: v for k, v in progress.items() if k not in ("seconds", "compilations")}
    bits = {name: (str(array.dtype), array.tobytes()) for name, array in arrays.items()}
    return {"step": step, "arrays": bits, "progress": kept}


def assert_same_run(first: Path, second: Path) -> None:
    assert last_checkpoint(first) == last_checkpoint(second)
    for name in ("log_train.csv", "log_validation.csv", "skipped_steps.csv"):
        rows = [read_rows(directory / name) for directory in (first, second)]
        for row in (*rows[0], *rows[1]):
            row.pop("seconds", None)
        assert rows[0] == rows[1], name
    assert (first / "report" / "errors.csv").read_text() == (
        second / "report" / "errors.csv"
    ).read_text()


class Stopping(Recorder):
    """Sends the process a signal after a step."""

    def __init__(self, step: int, number: signal.Signals):
        super().__init__()
        self._step, self._number = step, number

    def step(self, report):
        super().step(report)
        if report.step == self._step:
            os.kill(os.getpid(), self._number)


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """Return the directory of a run in one piece, like those of `run_config`."""
    folder = tmp_path_factory.mktemp("whole")
    ase.io.write(folder / "data.xyz", clusters(24))
    data = {"train": str(folder / "data.xyz"), "validation": 6}
    settings = {"directory": str(folder / "run"), "data": data, **SETTINGS, **SECTIONS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "pairs", (PairConfig, PairModel))
        return train(RunConfig.model_validate(settings)).directory


@pytest.mark.parametrize("step", [5, 8], ids=["within an epoch", "at the end of an epoch"])
def test_a_run_interrupted_and_resumed_is_the_run_in_one_piece(run_config, whole, step):
    config = run_config("pieces", **SECTIONS)
    assert train(config, reporter=Stopping(step, signal.SIGINT)).interrupted
    recorder = Recorder()
    result = train(config, resume=True, reporter=recorder)
    assert recorder.started[0].start_step in (step, step + 1)
    assert recorder.steps[0].step == recorder.started[0].start_step + 1
    assert_same_run(result.directory, whole)


CHILD = """
import os, signal, sys
from tensornet_jax.config import load_config
from tensornet_jax.models import MODELS
from tensornet_jax.train import loop
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.run import train
from tests.train.small import PairConfig, PairModel
from tests.train.test_resume import Stopping

MODELS["pairs"] = (PairConfig, PairModel)
loop.SAVE_AT_EPOCH_END = 0.0
config, when = sys.argv[1:]
if when == "in a save":
    from pathlib import Path

    replace, saves = Path.replace, []

    def dying(self, target):
        if Path(target).parent.name == "checkpoints":
            saves.append(target)
        if len(saves) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = dying
    reporter = None
else:
    reporter = Stopping(int(when), signal.SIGKILL)
train(load_config(config, RunConfig), reporter=reporter)
"""


def kill_run(config: Path, when: str, environment: dict[str, str]) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(config), when],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.parametrize("when", ["11", "in a save"])
def test_a_run_killed_and_resumed_is_the_run_in_one_piece(
    run_config, whole, compiled, tmp_path, when
):
    config: RunConfig = run_config("pieces", **SECTIONS)
    path = tmp_path / "killed.yaml"
    path.write_text(dump_config(config))
    kill_run(path, when, {"JAX_COMPILATION_CACHE_DIR": str(compiled)})
    recorder = Recorder()
    result = train(config, resume=True, reporter=recorder)
    assert recorder.started[0].start_step == 8
    assert_same_run(result.directory, whole)


@pytest.mark.slow
def test_tensornet_killed_and_resumed_is_bitwise_the_run_in_one_piece(tmp_path, no_plots):
    ase.io.write(tmp_path / "ethanol.xyz", ase.io.read(EXAMPLE / "train.xyz", ":24"))

    def config(name: str) -> RunConfig:
        model = {"name": "tensornet", "num_channels": 8, "num_layers": 1, "num_radial": 8}
        data = {"train": str(tmp_path / "ethanol.xyz"), "validation": 6}
        return RunConfig.model_validate(
            {"directory": str(tmp_path / name), "data": data, "model": model, **SECTIONS}
        )

    whole = train(config("whole")).directory
    (tmp_path / "killed.yaml").write_text(dump_config(config("pieces")))
    kill_run(tmp_path / "killed.yaml", "11", {})
    assert_same_run(train(config("pieces"), resume=True).directory, whole)


def test_a_damaged_checkpoint_costs_an_epoch_and_nothing_else(run_config, whole, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_AT_EPOCH_END", 0.0)
    config = run_config("pieces", **SECTIONS)
    train(config, reporter=Stopping(9, signal.SIGTERM))
    checkpoints = Path(config.directory) / "checkpoints"
    newest = max(checkpoints.iterdir(), key=lambda path: int(path.stem))
    newest.write_bytes(newest.read_bytes()[:-1])
    recorder = Recorder()
    result = train(config, resume=True, reporter=recorder)
    assert recorder.started[0].start_step == 8
    assert any(f"{newest} is damaged" in message for message in recorder.messages)
    assert_same_run(result.directory, whole)


def test_when_every_checkpoint_is_damaged_the_directory_is_named(run_config):
    config = run_config(training={"epochs": 1})
    train(config)
    for path in (Path(config.directory) / "checkpoints").iterdir():
        path.write_text("{}")
    with pytest.raises(CheckpointError, match=r"every checkpoint in .*checkpoints is damaged"):
        train(config, resume=True)


@pytest.mark.slow
def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_once(run_config):
    at_once = train(run_config("once", training={"epochs": 6}))
    train(run_config("later", training={"epochs": 3}))
    later = train(run_config("later", training={"epochs": 6}), resume=True)
    assert_same_run(later.directory, at_once.directory)


def test_a_finished_run_resumed_takes_no_step_and_writes_its_report_again(run_config, recorder):
    config = run_config(training={"epochs": 2})
    first = train(config)
    shutil.rmtree(first.directory / "report")
    second = train(config, resume=True, reporter=recorder)
    assert recorder.steps == []
    assert second.rows == first.rows
    assert (second.directory / "report" / "report.md").exists()


def test_a_time_limit_does_not_count_as_a_validation_of_the_resumed_run(run_config, whole):
    config = run_config("pieces", **SECTIONS)
    short = config.training.model_copy(update={"max_minutes": 1e-6})
    stopped = train(config.model_copy(update={"training": short}))
    assert stopped.facts.outcome == "time limit"
    assert stopped.facts.num_steps < 4
    resumed = train(config, resume=True)
    assert_same_run(resumed.directory, whole)


def test_resuming_without_anything_to_resume_starts(run_config, recorder):
    result = train(run_config(training={"epochs": 1}), resume=True, reporter=recorder)
    assert recorder.started[0].start_step == 0
    assert result.facts.num_steps == 4


def test_resuming_with_another_configuration_is_refused_by_key(run_config):
    train(run_config(training={"epochs": 1}))
    for section, change, message in (
        ("optimizer", {"learning_rate": 0.1}, r"optimizer.learning_rate = 0\.05, not 0\.1"),
        ("training", {"epochs": 1, "batch_size": 4}, r"training.batch_size = 5, not 4"),
        ("model", {"width": 7}, r"model.width = 6, not 7"),
    ):
        changed = run_config(**{"training": {"epochs": 1}, section: change})
        with pytest.raises(TrainingError, match=message):
            train(changed, resume=True)


def test_resuming_on_other_data_is_refused(run_config, tmp_path):
    config = run_config(training={"epochs": 1})
    train(config)
    path = tmp_path / "data.xyz"
    path.write_text(path.read_text().replace("0.1", "0.2", 1))
    with pytest.raises(ValueError, match="data have changed"):
        train(config, resume=True)


def test_a_run_that_began_before_tables_were_told_by_shape_goes_on_by_name(run_config, monkeypatch):
    written = Progress.to_json

    def as_before(self: Progress) -> dict[str, Any]:
        content = written(self)
        del content["tables_by_shape"]
        return content

    def by_shape(potential: Any) -> frozenset[str]:
        raise AssertionError("the steps to come would change")

    with monkeypatch.context() as former:
        former.setattr(Progress, "to_json", as_before)
        train(run_config(training={"epochs": 1}))
    monkeypatch.setattr(loop, "tables_of", by_shape)
    resumed = train(run_config(training={"epochs": 2}), resume=True)
    assert resumed.facts.num_steps == 8
    # Saved once more, it is still such a run.
    resumed = train(run_config(training={"epochs": 3}), resume=True)
    assert resumed.facts.num_steps == 12
