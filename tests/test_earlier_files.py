"""Files of an earlier version load, say what they said, and go on as they would have gone on."""

import json
import shutil
from pathlib import Path

import ase.io
import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from tensornet_jax import load_model
from tensornet_jax.cli import app
from tensornet_jax.config import load_config
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.sources.packed_file import PackedFile
from tensornet_jax.runtime.checkpoint import CheckpointStore
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting import report
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.train.small import Recorder

FOLDER = Path(__file__).parent / "data_files" / "earlier_version"
MODELS = sorted(path.stem for path in (FOLDER / "models").iterdir())
CHARGED = ("priors", "tensornet2")
# Another processor rounds otherwise, and dynamics and training amplify it.
ROUNDING = 1e-8


@pytest.fixture
def earlier(tmp_path, monkeypatch) -> Path:
    """Return a copy of the files, which is the current directory."""
    folder = tmp_path / "earlier"
    shutil.copytree(FOLDER, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(report, "plot_parity", lambda *_: None)
    monkeypatch.setattr(report, "plot_learning_curves", lambda *_: None)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_model_predicts_what_it_did(name):
    potential = load_model(FOLDER / "models" / f"{name}.safetensors", dtype="float64")
    structures = FOLDER / ("cations.xyz" if name in CHARGED else "ethanol.xyz")
    expected = json.loads((FOLDER / "predictions.json").read_text())[name]
    found = potential.evaluate(list(ase.io.iread(structures, ":2")), tuple(expected[0]))
    for prediction, former in zip(found, expected, strict=True):
        for key, value in former.items():
            np.testing.assert_allclose(prediction[key], value, rtol=1e-10, atol=1e-9, err_msg=key)


def test_a_packed_file_has_what_was_packed():
    packed = PackedFile(FOLDER / "ethanol.packed")
    list(packed.verify())
    for one, other in zip(packed, read_labelled(FOLDER / "ethanol.xyz"), strict=True):
        assert one.head is None
        assert one.source.endswith(other.source.rpartition("/")[2])
        np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
        assert set(one.labels) == set(other.labels)
        for name, label in one.labels.items():
            np.testing.assert_array_equal(label, other.labels[name])


def test_a_finished_run_is_finished(earlier):
    config, recorder = load_config(earlier / "finished/config.yaml", RunConfig), Recorder()
    before = (earlier / "finished/report/errors.csv").read_text().splitlines()
    result = train(config, resume=True, reporter=recorder)
    assert recorder.steps == []
    assert result.facts.outcome == "finished"
    after = (earlier / "finished/report/errors.csv").read_text().splitlines()
    assert [row.split(",")[:4] for row in after] == [row.split(",")[:4] for row in before]


def test_an_interrupted_run_ends_like_the_one_that_was_not(earlier):
    *_, step = CheckpointStore(earlier / "interrupted/checkpoints").steps()
    recorder = Recorder()
    result = train(load_config("train.yaml", RunConfig), resume=True, reporter=recorder)
    assert recorder.started[0].start_step == step
    assert recorder.steps[0].step == step + 1
    for name in ("log_train.csv", "log_validation.csv"):
        rows, twins = (
            read_rows(earlier / "interrupted" / name),
            read_rows(FOLDER / "finished" / name),
        )
        assert len(rows) == len(twins)
        for row, twin in zip(rows, twins, strict=True):
            for key in row.keys() - {"seconds"}:
                np.testing.assert_allclose(row[key], twin[key], rtol=ROUNDING, err_msg=key)
    twin = load_model(FOLDER / "finished/model.safetensors")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=ROUNDING, atol=ROUNDING),
        result.potential.variables,
        twin.variables,
    )
    # From now on the checkpoints are sealed files.
    names = {path.name for path in (earlier / "interrupted/checkpoints").iterdir()}
    assert f"{result.facts.num_steps}.safetensors" in names


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_a_simulation_goes_on_like_the_one_in_one_piece(earlier, engine):
    command = ["md", f"md_{engine}.yaml", "--set", "steps=40"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"going on from step 20 of md/{engine}.restart" in done.output
    whole = sorted(FOLDER.glob(f"{engine}*_40_steps.xyz"))
    assert len(whole) == (2 if engine == "device" else 1)
    for path in whole:
        expected = list(ase.io.iread(path, ":"))
        found = list(ase.io.iread(Path("md") / path.name.replace("_40_steps", ""), ":"))
        assert len(found) == len(expected) == 5
        for frame, other in zip(found, expected, strict=True):
            assert frame.info["step"] == other.info["step"]
            np.testing.assert_allclose(frame.positions, other.positions, atol=ROUNDING)
