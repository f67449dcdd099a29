"""A whole run on small clusters: its files, its errors, skipped steps and reasons to stop."""

import csv
import json
import math
import os
import signal
import sys
import types
from pathlib import Path

import ase.io
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.config import load_config
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train import loop
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import DataError
from tensornet_jax.train.evaluation.metrics import ErrorRow
from tensornet_jax.train.loop import TrainingError
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.train.small import Recorder, clusters, same_bits


def find(rows: list[ErrorRow], data_set: str, name: str, element: str = "") -> ErrorRow:
    (row,) = [
        row
        for row in rows
        if (row.data_set, row.property, row.element, row.config_type)
        == (data_set, name, element, "all")
    ]
    return row


# --- a finished run ---------------------------------------------------------------------------


def test_a_finished_run_leaves_everything_in_its_directory(finished_run):
    config, result, _ = finished_run
    for name in (
        "config.yaml",
        "split.json",
        "log_train.csv",
        "log_validation.csv",
        "skipped_steps.csv",
        "checkpoints",
        "model.safetensors",
        "report/report.md",
        "report/errors.csv",
        "report/learning_curves.png",
        "report/parity_train.png",
        "report/parity_validation.png",
        "report/parity_unseen.png",
        "report/parity_drawn.png",
    ):
        assert (result.directory / name).exists(), name
    assert load_config(result.directory / "config.yaml", RunConfig) == config


def test_the_run_learns(finished_run):
    _, result, recorder = finished_run
    losses = [row["loss"] for row in recorder.validation_rows]
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]
    assert result.facts.best_loss == min(losses)


def test_the_error_table_is_what_the_model_file_gives(finished_run):
    config, result, _ = finished_run
    potential = load_model(result.directory / "model.safetensors")
    structures = read_labelled(config.data.test["unseen"])
    frames = [structure.atoms for structure in structures]
    predictions = potential.evaluate(frames, ("energy", "forces"))
    pairs = [(p, s.labels) for p, s in zip(predictions, structures, strict=True)]
    forces = np.concatenate([(p["forces"] - lab["forces"]).ravel() for p, lab in pairs])
    energy = np.array([p["energy"] - lab["energy"] for p, lab in pairs])
    sizes = np.array([len(atoms) for atoms in frames])
    row = find(result.rows, "unseen", "forces")
    assert row.count == forces.size
    np.testing.assert_allclose(row.mae, np.abs(forces).mean(), rtol=1e-6)
    np.testing.assert_allclose(row.rmse, np.sqrt((forces**2).mean()), rtol=1e-6)
    np.testing.assert_allclose(
        find(result.rows, "unseen", "energy_per_atom").mae, np.abs(energy / sizes).mean(), rtol=1e-6
    )
    with (result.directory / "report" / "errors.csv").open() as file:
        saved = [ErrorRow(**row) for row in map(_typed, csv.DictReader(file))]
    assert saved == result.rows
    page = (result.directory / "report" / "report.md").read_text()
    assert f"{row.mae * 1000:.4g}" in page
    for name in ("parity_unseen.png", "learning_curves.png", "errors.csv", "../config.yaml"):
        assert f"({name})" in page


def _typed(row: dict) -> dict:
    numbers = {"count": int(row["count"]), "mae": float(row["mae"]), "rmse": float(row["rmse"])}
    return {**row, **numbers}


def test_validation_in_the_run_agrees_with_evaluation_after_it(finished_run):
    _, result, recorder = finished_run
    (best,) = [row for row in recorder.validation_rows if row["loss"] == result.facts.best_loss]
    for name in ("energy", "energy_per_atom", "forces"):
        row = find(result.rows, "validation", name)
        np.testing.assert_allclose(best[f"{name}_mae"], row.mae, rtol=1e-4)
        np.testing.assert_allclose(best[f"{name}_rmse"], row.rmse, rtol=1e-4)


def test_the_validation_loss_is_that_of_the_whole_set_as_one_batch(finished_run):
    config, _, recorder = finished_run
    assert config.loss.energy is not None
    assert config.loss.forces is not None
    for row in recorder.validation_rows:
        expected = (
            config.loss.energy.weight * row["energy_per_atom_rmse"] ** 2
            + config.loss.forces.weight * row["forces_rmse"] ** 2
        )
        np.testing.assert_allclose(row["loss"], expected, rtol=1e-9)


def test_the_logs_hold_what_was_reported(finished_run):
    _, result, recorder = finished_run
    for name, reported in (
        ("log_train.csv", recorder.train_rows),
        ("log_validation.csv", recorder.validation_rows),
    ):
        assert read_rows(result.directory / name) == [dict(row) for row in reported]
    assert [report.step for report in recorder.steps] == list(range(1, 13))
    means = [np.mean([s.loss for s in recorder.steps[k : k + 3]]) for k in range(0, 12, 3)]
    np.testing.assert_allclose([row["loss"] for row in recorder.train_rows], means, rtol=1e-12)


def test_the_parts_are_disjoint_and_saved(finished_run):
    _, result, recorder = finished_run
    split = json.loads((result.directory / "split.json").read_text())
    parts = [split["train"], split["validation"], split["test"]["drawn"]]
    assert [len(part) for part in parts] == [15, 6, 3]
    assert sorted(index for part in parts for index in part) == list(range(24))
    (start,) = recorder.started
    assert (start.num_train, start.num_validation, start.num_steps) == (15, 6, 12)


def test_the_network_never_sees_the_energies_of_isolated_atoms(finished_run):
    _, result, recorder = finished_run
    assert result.potential.elements.reference_energies.max() < -500
    # What it has to learn is the rest of the labels near −4000 eV.
    assert recorder.validation_rows[0]["energy_mae"] < 5.0
    assert abs(result.potential.energy_scale) < 50.0


def test_the_audit_is_shown_before_the_first_step_and_in_the_report(finished_run):
    _, result, recorder = finished_run
    assert any(line.startswith("force RMS") for line in recorder.audited)
    page = (result.directory / "report" / "report.md").read_text()
    assert all(line in page for line in recorder.audited)


def test_the_run_says_how_often_it_compiled_and_what_was_padding(finished_run):
    _, result, recorder = finished_run
    facts = result.facts
    assert 2 <= facts.compilations <= 4
    assert 0 < facts.atom_padding < 0.5
    assert 0 < facts.pair_padding < 0.5
    page = (result.directory / "report" / "report.md").read_text()
    assert f"{facts.atom_padding:.1%} of atoms" in page
    assert recorder.closed == 1
    assert recorder.finished == [result]


# --- properties -------------------------------------------------------------------------------


def test_stress_is_trained_and_reported_for_crystals(run_config, tmp_path):
    ase.io.write(tmp_path / "crystal.xyz", clusters(12, periodic=True))
    terms = {"energy": {"weight": 1.0}, "forces": {"weight": 1.0}, "stress": {"weight": 100.0}}
    config = run_config(
        data={"train": str(tmp_path / "crystal.xyz"), "validation": 4},
        loss=terms,
        training={"epochs": 6},
    )
    recorder = Recorder()
    result = train(config, reporter=recorder)
    assert find(result.rows, "train", "stress").unit == "eV/Å³"
    stress = [row["loss_stress"] for row in recorder.train_rows]
    assert 0 < stress[-1] < stress[0]


def test_a_dipole_alone_can_be_trained(run_config):
    config = run_config(
        model={"heads": ["dipole"]},
        loss={"energy": None, "forces": None, "dipole": {"weight": 1.0, "kind": "mae"}},
        training={"epochs": 40},
        optimizer={"learning_rate": 0.1},
    )
    result = train(config)
    assert {row.property for row in result.rows} == {"dipole"}
    assert find(result.rows, "validation", "dipole").mae < 0.1


def test_a_loss_without_labels_is_left_out_with_a_message(run_config, recorder):
    terms = {"energy": {"weight": 1.0}, "forces": {"weight": 1.0}, "stress": {"weight": 1.0}}
    train(run_config(loss=terms, training={"epochs": 1}), reporter=recorder)
    assert recorder.started[0].terms == ("energy", "forces")
    assert any("loss.stress is left out" in message for message in recorder.messages)


def test_data_without_any_wanted_label_are_refused(run_config):
    config = run_config(loss={"energy": None, "forces": None, "stress": {"weight": 1.0}})
    with pytest.raises(DataError, match="no training structure has a label for stress"):
        train(config)


def test_an_element_that_is_only_in_the_test_set_is_refused_before_training(run_config, tmp_path):
    (strange,) = clusters(1)
    strange.numbers[0] = 16
    ase.io.write(tmp_path / "strange.xyz", strange)
    config = run_config(data={"test": {"strange": str(tmp_path / "strange.xyz")}})
    with pytest.raises(DataError, match=r"strange set.*strange\.xyz:0.* S"):
        train(config)


def test_isolated_atoms_give_reference_energies_and_are_not_trained_on(
    run_config, tmp_path, recorder
):
    atoms = [ase.Atoms(symbol, info={"REF_energy": -1001.0}) for symbol in "CHO"]
    ase.io.write(tmp_path / "with_atoms.xyz", [*clusters(18), *atoms])
    config = run_config(
        data={"train": str(tmp_path / "with_atoms.xyz"), "reference_energies": "isolated_atoms"},
        training={"epochs": 1},
    )
    result = train(config, reporter=recorder)
    assert recorder.started[0].num_train == 12
    assert any("3 isolated atoms" in message for message in recorder.messages)
    assert result.potential.elements.reference_energies.tolist() == [-1001.0] * 3


# --- steps that are not finite ----------------------------------------------------------------


def spoiled(tmp_path: Path, count: int) -> str:
    """Write clusters, `count` of which have forces that overflow when squared in float32."""
    made = clusters(24)
    for atoms in made[:count]:
        atoms.arrays["REF_forces"] = np.where(np.arange(3) == 0, 1e25, atoms.arrays["REF_forces"])
    path = str(tmp_path / "spoiled.xyz")
    ase.io.write(path, made)
    return path


def test_a_step_that_is_not_finite_is_skipped_and_its_structures_are_named(
    run_config, tmp_path, recorder, monkeypatch
):
    monkeypatch.setattr("tensornet_jax.train.run._energy_scale", lambda data: 1.0)
    validation = str(tmp_path / "data.xyz")
    data = {"train": spoiled(tmp_path, 1), "validation": validation}
    result = train(run_config(data=data, training={"epochs": 3}), reporter=recorder)
    assert result.facts.skipped == 3
    assert [report.skipped for report in recorder.steps].count(True) == 3
    with (result.directory / "skipped_steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        names = [Path(name).name for name in row["structures"].split()]
        assert "spoiled.xyz:0" in names
        assert len(names) <= 5
    assert all(math.isfinite(row["loss"]) for row in recorder.train_rows)


def test_too_many_skipped_steps_end_the_run_with_a_remedy(run_config, tmp_path, monkeypatch):
    monkeypatch.setattr("tensornet_jax.train.run._energy_scale", lambda data: 1.0)
    data = {"train": spoiled(tmp_path, 24), "validation": str(tmp_path / "data.xyz")}
    config = run_config(data=data, training={"epochs": 50, "max_skipped_steps": 3})
    with pytest.raises(TrainingError, match=r"^4 steps.*max_skipped_steps = 3.*skipped_steps\.csv"):
        train(config)


# --- reasons to stop --------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_weights(run_config, recorder):
    config = run_config(
        training={"epochs": 300, "patience": 3}, optimizer={"learning_rate": 3.0, "ema_decay": None}
    )
    result = train(config, reporter=recorder)
    losses = [row["loss"] for row in recorder.validation_rows]
    assert result.facts.outcome == "early stopping"
    assert len(losses) == losses.index(min(losses)) + 4
    assert result.facts.best_epoch == losses.index(min(losses)) + 1
    row = find(result.rows, "validation", "forces")
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
    assert (result.directory / "checkpoints" / str(reporter.steps[-1].step)).exists()
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


# --- trackers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logging", "extra"),
    [({"tensorboard": True}, "tensorboard"), ({"wandb": "project"}, "wandb")],
)
def test_a_missing_tracker_names_its_extra_before_anything_is_read(
    run_config, monkeypatch, logging, extra
):
    for name in ("tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"tensornet_jax\[{extra}\]"):
        train(run_config(logging=logging))


def test_trackers_get_the_rows_of_the_logs(run_config, monkeypatch, recorder):
    written, logged = [], []

    class Writer:
        def __init__(self, directory, purge_step):
            self.directory, self.purge_step = directory, purge_step

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    class Run:
        id = "abc"

        def log(self, values, step):
            logged.append((values, step))

        def finish(self):
            logged.append("finished")

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **_: Run()))
    config = run_config(logging={"tensorboard": True, "wandb": "p"}, training={"epochs": 2})
    train(config, reporter=recorder)
    last = recorder.validation_rows[-1]
    assert ("validation/loss", last["loss"], last["step"]) in written
    assert written[-1] == "closed"
    assert logged[0][0]["train/loss"] == recorder.train_rows[0]["loss"]
    assert logged[-1] == "finished"


# --- reproducible -----------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_however_often_it_is_saved(run_config, monkeypatch):
    first = train(run_config("first"))
    monkeypatch.setattr(loop, "SAVE_AT_EPOCH_END", 0.0)
    monkeypatch.setattr(loop, "SAVE_WITHIN_EPOCH", 0.0)
    second = train(run_config("second"))
    assert same_bits(first.potential.variables, second.potential.variables)
    assert first.rows == second.rows
    other = train(run_config("other", seed=6))
    assert not same_bits(first.potential.variables, other.potential.variables)


def test_float64_runs_in_float64_and_leaves_the_global_setting_alone(run_config, recorder):
    result = train(run_config(dtype="float64", training={"epochs": 1}), reporter=recorder)
    # Train, evaluate and the model file compute the same.
    for name in ("energy_per_atom", "forces"):
        row, (logged,) = find(result.rows, "validation", name), recorder.validation_rows
        np.testing.assert_allclose(logged[f"{name}_rmse"], row.rmse, rtol=1e-8)
    assert result.potential.dtype == "float64"
    assert np.asarray(result.potential.variables["params"]["kernel"]).dtype == np.float64
    assert jnp.ones(1).dtype == jnp.float32
