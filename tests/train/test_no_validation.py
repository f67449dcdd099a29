"""A run without a validation set keeps its last averaged weights and says so."""

import signal

import ase.io
import numpy as np
import pytest

from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.train.small import Recorder, clusters, same_bits
from tests.train.test_resume import Stopping, last_checkpoint


def test_the_last_averaged_weights_are_kept_and_nothing_is_validated(run_config, tmp_path):
    ase.io.write(tmp_path / "test.xyz", clusters(5, seed=3))
    data = {"validation": "none", "test": {"room temperature": str(tmp_path / "test.xyz")}}
    recorder = Recorder()
    config = run_config(data=data, training={"epochs": 3})
    result = train(config, reporter=recorder)
    assert recorder.started[0].num_train == 24
    assert recorder.started[0].num_validation == 0
    assert recorder.validation_rows == []
    assert not (result.directory / "log_validation.csv").exists()
    assert len(read_rows(result.directory / "log_train.csv")) == 3
    assert not result.facts.validated
    assert result.facts.best_epoch == 3
    assert {row.data_set for row in result.rows} == {"train", "room temperature"}
    page = (result.directory / "report" / "report.md").read_text()
    assert "Of the last averaged weights (nothing was validated)" in page
    assert "validation loss" not in page

    # Three epochs of which none is chosen are the first three of four.
    state = load_model(result.directory / "model.safetensors").variables
    on = train(run_config(data=data, training={"epochs": 4}), resume=True)
    assert on.facts.best_epoch == 4
    assert not same_bits(on.potential.variables, state)


@pytest.mark.usefixtures("recorder")
def test_a_run_without_validation_resumes_bit_for_bit(run_config):
    data, training = {"validation": "none"}, {"epochs": 3}
    whole = train(run_config("whole", data=data, training=training))
    config = run_config("pieces", data=data, training=training)
    stopped = train(config, reporter=Stopping(7, signal.SIGTERM))
    assert stopped.interrupted
    pieces = train(config, resume=True)
    assert last_checkpoint(pieces.directory) == last_checkpoint(whole.directory)
    assert same_bits(pieces.potential.variables, whole.potential.variables)


def test_weights_of_labels_are_part_of_loss_and_validation(run_config, tmp_path):
    made = clusters(24)
    for index, atoms in enumerate(made):
        atoms.info["config_weight"] = 2.0
        atoms.info["config_forces_weight"] = 0.5
        atoms.info["config_energy_weight"] = 3.0 if index % 2 else 1.0
    ase.io.write(tmp_path / "weighted.xyz", made)
    recorder, plain = Recorder(), Recorder()
    optimizer = {"learning_rate": 1e-12}
    training = {"epochs": 1, "batch_size": 24}
    data = {"train": str(tmp_path / "weighted.xyz"), "validation": str(tmp_path / "weighted.xyz")}
    settings = {"optimizer": optimizer, "training": training}
    train(run_config("weighted", data=data, **settings), reporter=recorder)
    data = {"train": str(tmp_path / "data.xyz"), "validation": str(tmp_path / "data.xyz")}
    train(run_config("plain", data=data, **settings), reporter=plain)
    (row,), (unweighted,) = recorder.validation_rows, plain.validation_rows
    # Nothing has moved: both logs are of the same weights and structures.
    for name in ("loss", "loss_energy", "loss_forces"):
        np.testing.assert_allclose(recorder.train_rows[0][name], row[name], rtol=1e-4)
    np.testing.assert_allclose(row["loss_forces"], unweighted["loss_forces"], rtol=1e-9)
    ratio = row["loss_energy"] / unweighted["loss_energy"]
    assert 2.0 < ratio < 6.0
    # Errors are those of the labels, whatever they count.
    for name in ("energy_rmse", "energy_per_atom_mae", "forces_mae"):
        np.testing.assert_allclose(row[name], unweighted[name], rtol=1e-9)
