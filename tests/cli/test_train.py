from pathlib import Path

import ase.build
import ase.io
import pytest
from ase.calculators.emt import EMT

CONFIG = """
directory: run
data:
  train: train.xyz
  validation: 2
  test: {more: 2}
model: {name: tensornet, num_channels: 4, num_layers: 0, num_radial: 4, cutoff: 2.5}
training: {batch_size: 4, validation_batch_size: 4}
optimizer: {learning_rate: 1e-3}
"""


@pytest.fixture
def data(cli):
    """Write twelve rattled water molecules with EMT energies and forces, and a configuration."""
    frames = []
    for seed in range(12):
        atoms = ase.build.molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write("train.xyz", frames, format="extxyz")
    Path("run.yaml").write_text(CONFIG)


def test_train_reports_errors_and_leaves_a_model(cli, data):
    result = cli("train", "run.yaml", "--set", "training.epochs=1")
    assert result.exit_code == 0, result.stderr
    for text in ("8 structures to train on, 2 to validate on", "epoch 1: validation loss", "meV/Å"):
        assert text in result.stdout
    assert "| more" in result.stdout
    assert Path("run/report/report.md").exists()
    assert "num_channels: 4" in cli("inspect", "run/model.safetensors").stdout

    refused = cli("train", "run.yaml", "--no-resume")
    assert refused.exit_code == 2
    assert "already holds a run" in refused.stderr
    changed = cli("train", "run.yaml", "--set", "optimizer.learning_rate=1e-2")
    assert changed.exit_code == 1
    assert "optimizer.learning_rate" in changed.stderr
    assert "Traceback" not in changed.stderr


def test_train_names_data_that_are_not_there(cli, data):
    result = cli("train", "run.yaml", "--set", "data.train=absent.xyz")
    assert result.exit_code == 2
    assert "absent.xyz: no such file" in result.stderr
    assert "Traceback" not in result.stderr
