"""A run whose structures are read when they are needed is the run that holds them in memory."""

import signal

import ase.io
import numpy as np
import pytest

from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.sources.packing import packing
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.survey import Survey
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.train.small import Recorder, clusters, replayed, write
from tests.train.test_resume import SECTIONS, Stopping, assert_same_run


@pytest.fixture
def files(tmp_path):
    """Return a data section whose validation and tests have files of their own."""
    train_file = write(tmp_path / "data.xyz", clusters(24))
    held = {"validation": write(tmp_path / "held.xyz", clusters(7, seed=3))}
    return {"train": train_file, **held, "test": {"far": write(tmp_path / "t.xyz", clusters(5, 4))}}


def losses(directory, name="log_validation.csv"):
    return [row["loss"] for row in read_rows(directory / name)]


def test_the_same_steps_are_taken_from_files(run_config, files):
    held = train(run_config("held", data=files)).directory
    recorder = Recorder()
    config = run_config("streamed", data={**files, "stream": True})
    streamed = train(config, reporter=recorder).directory
    np.testing.assert_allclose(losses(streamed), losses(held), rtol=1e-4)
    np.testing.assert_allclose(
        losses(streamed, "log_train.csv"), losses(held, "log_train.csv"), rtol=1e-4
    )
    tables = [(each / "report" / "errors.csv").read_text() for each in (held, streamed)]
    named, again = ([line.split(",")[:5] for line in each.splitlines()] for each in tables)
    assert named == again
    assert any("is packed into" in text for text in recorder.messages)
    page = (streamed / "report" / "report.md").read_text()
    assert "structures           24" in page


def test_packed_data_are_trained_on_without_a_copy(run_config, files, tmp_path):
    with packing(tmp_path / "data.packed") as packer:
        for structure in read_labelled(files["train"]):
            packer.add(structure)
    data = {"train": str(tmp_path / "data.packed"), "validation": 0.25, "stream": True}
    recorder = Recorder()
    result = train(run_config("packed", data=data), reporter=recorder)
    assert recorder.started[0].num_train == 18
    assert not list((result.directory / "data_cache").glob("*.packed"))


def test_a_streamed_run_goes_on_in_the_middle_of_an_epoch_without_another_pass(
    run_config, files, monkeypatch
):
    data = {**files, "stream": True}
    whole = train(run_config("whole", data=data, **SECTIONS)).directory
    config = run_config("pieces", data=data, **SECTIONS)
    assert train(config, reporter=Stopping(7, signal.SIGINT)).interrupted
    monkeypatch.setattr(Survey, "run", lambda *_: pytest.fail("another pass over the data"))
    result = train(config, resume=True)
    assert_same_run(result.directory, whole)


def test_data_that_have_changed_are_refused(run_config, files):
    config = run_config("changed", data={**files, "stream": True}, **SECTIONS)
    assert train(config, reporter=Stopping(3, signal.SIGINT)).interrupted
    ase.io.write(files["train"], clusters(24, seed=9))
    with pytest.raises(DataError, match=r"split.json: the data have changed since this run began"):
        train(config, resume=True)


def test_the_only_carriers_of_an_element_stay_in_training(run_config, files, tmp_path):
    made = clusters(40)
    for atoms in made:
        atoms.numbers[atoms.numbers == 6] = 1
    made[17].numbers[0] = 14
    data = {"train": write(tmp_path / "rare.xyz", made), "validation": 39, "stream": True}
    recorder = Recorder()
    train(run_config("rare", data=data, training={"epochs": 1}), reporter=recorder)
    lines = "\n".join(recorder.messages)
    assert "rare.xyz:17 stays in training" in lines or recorder.started[0].num_train == 1


def test_errors_of_all_structures_are_found(run_config, files, tmp_path):
    made = clusters(24)
    made[11].info["REF_energy"] = 1e9
    data = {**files, "train": write(tmp_path / "wrong.xyz", made), "stream": True}
    with pytest.raises(DataError, match=r"energy above 1e\+06 eV per atom.*wrong.xyz:11"):
        train(run_config("wrong", data=data))


def test_a_trained_model_is_fine_tuned_on_streamed_data_with_replay(run_config, files, old):
    first = train(run_config("first", training={"epochs": 1})).directory
    data = {**files, **replayed(old, reference_energies="least_squares")}
    settings = {"start": {"model": str(first / "model.safetensors")}, "model": None}
    settings["training"] = {"epochs": 2}
    held = train(run_config("held", data=data, **settings)).directory
    streamed = train(run_config("tuned", data={**data, "stream": True}, **settings)).directory
    np.testing.assert_allclose(losses(streamed), losses(held), rtol=1e-3)
