import os
import signal
from pathlib import Path

import ase.build
import ase.io
import pytest
from ase.calculators.emt import EMT

from tensornet_jax.runtime.locks import exclusive

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
    cli("evaluate", "run/model.safetensors", "train.xyz", "-o", "errors.csv")
    own, after = (Path(name).read_bytes() for name in ("errors.csv", "run/report/errors.csv"))
    assert own.splitlines()[0] == after.splitlines()[0]
    assert b"\r" not in own + after

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


def test_a_second_run_in_the_same_directory_is_refused(cli, data):
    Path("run").mkdir()
    with exclusive(Path("run/.lock"), "it", "wait"):
        result = cli("train", "run.yaml")
    assert result.exit_code == 2
    assert "run directory run is in use" in result.stderr
    assert [path.name for path in Path("run").iterdir()] == [".lock"]


def test_an_interruption_before_the_first_step_says_how_to_go_on(cli, data, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tensornet_jax.train.data.parts.read_labelled", interrupted)
    result = cli("train", "run.yaml")
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interruption_between_steps_saves_and_the_same_command_goes_on(cli, data, monkeypatch):
    from tensornet_jax.cli.progress import TerminalReporter

    taken = TerminalReporter.step

    def step(self, report):
        taken(self, report)
        if report.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TerminalReporter, "step", step)
    settings = ("--set", "training.epochs=3", "--set", "data.validation=none")
    first = cli("train", "run.yaml", *settings)
    assert first.exit_code == 130, first.stderr
    assert first.stdout.count("saved at step") == 1
    assert "none to validate on" in first.stdout
    second = cli("train", "run.yaml", *settings)
    assert second.exit_code == 0, second.stderr
    assert "resumed at step" in second.stdout
    assert "epoch 3: training loss" in second.stdout
    assert "the last averaged weights are kept" in second.stdout
