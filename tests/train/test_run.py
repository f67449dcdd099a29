"""A whole run on small clusters: its files and its errors."""

import csv
import json

import jax.numpy as jnp
import numpy as np

from tensornet_jax.config import load_config
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train import loop
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.evaluation.metrics import ErrorRow, error_cells
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.builders import num_compiled
from tests.train.small import clusters, find_row, same_bits, write


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
        "report/report.html",
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
    row = find_row(result.rows, "unseen", "forces")
    assert row.count == forces.size
    np.testing.assert_allclose(row.mae, np.abs(forces).mean(), rtol=1e-6)
    np.testing.assert_allclose(row.rmse, np.sqrt((forces**2).mean()), rtol=1e-6)
    np.testing.assert_allclose(
        find_row(result.rows, "unseen", "energy_per_atom").mae,
        np.abs(energy / sizes).mean(),
        rtol=1e-6,
    )
    with (result.directory / "report" / "errors.csv").open() as file:
        saved = [ErrorRow(**row) for row in map(_typed, csv.DictReader(file))]
    assert saved == result.rows
    page = (result.directory / "report" / "report.md").read_text()
    assert f"{row.mae * 1000:.4g}" in page
    browsers = (result.directory / "report" / "report.html").read_text()
    for line in error_cells(result.rows):
        assert all(f">{cell}</t" in browsers for cell in line if cell)
    for name in ("parity_unseen.png", "learning_curves.png", "errors.csv", "../config.yaml"):
        assert f"({name})" in page


def _typed(row: dict) -> dict:
    numbers = {"count": int(row["count"]), "mae": float(row["mae"]), "rmse": float(row["rmse"])}
    return {**row, **numbers}


def test_validation_in_the_run_agrees_with_evaluation_after_it(finished_run):
    _, result, recorder = finished_run
    (best,) = [row for row in recorder.validation_rows if row["loss"] == result.facts.best_loss]
    for name in ("energy", "energy_per_atom", "forces"):
        row = find_row(result.rows, "validation", name)
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


def test_the_report_evaluates_with_what_validation_has_compiled(run_config, tmp_path):
    """A width of its own: the model has no programs of other tests."""
    alike = write(tmp_path / "alike.xyz", clusters(72)[::3])
    config = run_config(
        model={"width": 5},
        data={"train": alike, "validation": 6},
        training={"epochs": 1, "validation_batch_size": 8},
    )
    before = num_compiled()
    result = train(config)
    assert {row.data_set for row in result.rows} == {"train", "validation"}
    assert num_compiled() - before == 1


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
        row, (logged,) = find_row(result.rows, "validation", name), recorder.validation_rows
        np.testing.assert_allclose(logged[f"{name}_rmse"], row.rmse, rtol=1e-8)
    assert result.potential.dtype == "float64"
    assert np.asarray(result.potential.variables["params"]["kernel"]).dtype == np.float64
    assert jnp.ones(1).dtype == jnp.float32
