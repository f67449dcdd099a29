"""The reasons for which a run stops, and what it leaves then."""

import os
import signal

import numpy as np
import pytest

from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.run import train
from tests.train.small import Recorder, find_row, same_bits


def test_early_stopping_keeps_the_best_weights(run_config, recorder):
    config = run_config(
        training={"epochs": 300, "patience": 3}, optimizer={"learning_rate": 3.0, "ema_decay": None}
    )
    result = train(config, reporter=recorder)
    losses = [row["loss"] for row in recorder.validation_rows]
    assert result.facts.outcome == "early stopping"
    assert len(losses) == losses.index(min(losses)) + 4
    assert result.facts.best_epoch == losses.index(min(losses)) + 1
    row = find_row(result.rows, "validation", "forces")
    best = recorder.validation_rows[losses.index(min(losses))]
    np.testing.assert_allclose(row.mae, best["forces_mae"], rtol=1e-4)


def test_the_time_limit_ends_the_run_with_a_report(run_config):
    config = run_config(training={"epochs": 100000, "max_minutes": 0.02})
    result = train(config)
    assert result.facts.outcome == "time limit"
    assert 0.02 <= result.facts.minutes < 0.5
    assert (result.directory / "report" / "report.md").exists()


def test_sigterm_saves_and_ends_without_report(run_config):
    class Terminating(Recorder):
        def step(self, report):
            super().step(report)
            if report.step == 4:
                os.kill(os.getpid(), signal.SIGTERM)

    reporter = Terminating()
    config = run_config(training={"epochs": 1000})
    before = signal.getsignal(signal.SIGTERM)
    result = train(config, reporter=reporter)
    assert result.interrupted
    assert signal.getsignal(signal.SIGTERM) is before
    assert reporter.steps[-1].step <= 6
    assert (result.directory / "checkpoints" / f"{reporter.steps[-1].step}.safetensors").exists()
    assert any("SIGTERM" in message for message in reporter.messages)
    assert not (result.directory / "report").exists()
    found = load_model(result.directory / "model.safetensors").variables
    assert same_bits(found["params"], result.potential.variables["params"])


def test_the_plateau_lowers_the_learning_rate(run_config, recorder):
    schedule = {"name": "plateau", "factor": 0.5, "patience": 1}
    config = run_config(
        training={"epochs": 12}, optimizer={"learning_rate": 3.0, "schedule": schedule}
    )
    train(config, reporter=recorder)
    scales = [row["learning_rate_scale"] for row in recorder.validation_rows]
    assert scales[-1] < 1
    first_row_after = next(k for k, scale in enumerate(scales) if scale < 1) + 1
    np.testing.assert_allclose(
        recorder.train_rows[first_row_after]["learning_rate"], 1.5, rtol=1e-6
    )


def test_a_second_run_in_the_same_directory_is_refused(finished_run):
    config, _, _ = finished_run
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(config)
