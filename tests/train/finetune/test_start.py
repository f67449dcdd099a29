"""Runs that start from a trained model."""

import shutil

import ase
import ase.io
import numpy as np
import pytest

from tensornet_jax.config import ConfigError, load_config
from tensornet_jax.data.readers import read_structures
from tensornet_jax.models.config import Compression
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.model_file import load_model, read_header, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.trained_on import OutsideTrainingWarning, record_of
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import DataError, read_parts
from tensornet_jax.train.finetune.start import make_start
from tensornet_jax.train.loop import TrainingError
from tensornet_jax.train.run import train
from tests.train.small import (
    PairConfig,
    Recorder,
    clusters,
    replayed,
    same_bits,
    shifted,
    with_silicon,
    write,
)


def forces(potential: Potential, structures: list[ase.Atoms]) -> np.ndarray:
    return np.concatenate([found["forces"] for found in potential.evaluate(structures)])


# --- what is kept ------------------------------------------------------------------------------


def test_a_run_goes_on_from_the_file_and_says_so(tuned, trained, finished_run, recorder):
    result = train(tuned(), reporter=recorder)
    saved = load_config(result.directory / "config.yaml", RunConfig)
    original = load_model(trained)
    assert saved.model == original.config
    assert saved.start is not None
    assert saved.start.sha256 == read_header(trained)["sha256"]
    first, *rest = recorder.validation_rows
    assert (first["epoch"], first["step"], len(rest)) == (0, 0, 2)
    # The first row is of the file's weights: what the run that made them had as its best.
    best = min(finished_run[2].validation_rows, key=lambda row: row["loss"])
    assert first["forces_mae"] == pytest.approx(best["forces_mae"], rel=1e-5)
    before = load_model(result.directory / "start.safetensors")
    assert same_bits(before.variables, original.variables)
    assert before.energy_scale == result.potential.energy_scale == original.energy_scale
    assert result.potential.metadata["start"]["sha256"] == saved.start.sha256
    seen, seen_before = record_of(result.potential.metadata), record_of(original.metadata)
    assert seen is not None
    assert seen_before is not None
    assert seen.charges == seen_before.charges == (0.0,)
    assert seen.structures is not None
    assert seen_before.structures is not None
    assert seen.structures > seen_before.structures > 0
    assert not same_bits(result.potential.variables, original.variables)
    page = (result.directory / "report" / "report.md").read_text()
    assert "## Against the starting model" in page
    assert (result.directory / "report" / "errors_before.csv").exists()


def test_weights_that_only_become_worse_are_not_taken(tuned, recorder, trained):
    settings = {"learning_rate": 10.0, "ema_decay": None}
    result = train(tuned(optimizer=settings), reporter=recorder)
    assert result.facts.best_epoch == 0
    assert same_bits(result.potential.variables, load_model(trained).variables)


def test_the_saved_configuration_starts_the_same_run(tuned, tmp_path):
    first = train(tuned())
    again = load_config(first.directory / "config.yaml", RunConfig)
    second = train(again.model_copy(update={"directory": str(tmp_path / "again")}))
    assert same_bits(first.potential.variables, second.potential.variables)


def test_scale_and_offset_are_those_of_the_file(tuned, trained, tmp_path, recorder):
    """A potential with another offset and energies moved with it learns the same."""
    moved = load_model(trained).replace(energy_offset=3.0)
    save_model(tmp_path / "moved.safetensors", moved)
    start = {"reference_energies": "keep"}
    one = train(tuned("one", start), reporter=recorder)
    structures = read_structures(tmp_path / "data.xyz")
    for atoms in structures:
        atoms.info["REF_energy"] += 3.0
    data = {"train": write(tmp_path / "moved.xyz", structures)}
    start["model"] = str(tmp_path / "moved.safetensors")
    other = train(tuned("other", start, data=data))
    assert other.potential.energy_offset == 3.0
    for path, leaf in by_path(one.potential.variables).items():
        np.testing.assert_allclose(by_path(other.potential.variables)[path], leaf, rtol=1e-3)


# --- elements ----------------------------------------------------------------------------------


def test_a_new_element_is_refused_unless_it_is_wanted(tuned, tmp_path):
    data = {"train": write(tmp_path / "new.xyz", with_silicon(clusters(24)))}
    with pytest.raises(DataError, match=r"element Si \(.* set, .*new\.xyz:\d+\).*new_elements"):
        train(tuned(data=data))


@pytest.mark.parametrize("new_elements", ["add", pytest.param({"Si": "C"}, marks=pytest.mark.slow)])
def test_a_new_element_is_added_and_learnt(tuned, tmp_path, trained, recorder, new_elements):
    structures = shifted(with_silicon(clusters(24)), {"O": 0, "H": 0, "Si": -7000.0})
    data = {"train": write(tmp_path / "new.xyz", structures)}
    config = tuned(start={"new_elements": new_elements}, data=data, training={"epochs": 8})
    result = train(config, reporter=recorder)
    assert result.potential.elements.symbols == ("H", "C", "O", "Si")
    before = load_model(result.directory / "start.safetensors")
    old = clusters(6, seed=3)
    np.testing.assert_allclose(
        forces(before, old), forces(load_model(trained), old), rtol=1e-5, atol=1e-6
    )
    first, last = recorder.validation_rows[0], recorder.validation_rows[-1]
    assert first["energy_per_atom_mae"] < 1.0
    if new_elements == "add":
        assert last["forces_mae"] < 0.8 * first["forces_mae"]
    else:
        with pytest.warns(OutsideTrainingWarning, match="element Si"):
            as_carbon = forces(before, with_silicon(clusters(6, seed=3)))
        np.testing.assert_allclose(as_carbon, forces(before, old), rtol=1e-5)


@pytest.mark.parametrize(
    ("like", "error", "message"),
    [
        ({"C": "O"}, ConfigError, "C is not new, the model knows it"),
        ({"Si": "C", "Ge": "C"}, ConfigError, "Ge is not new, no data have it"),
        ({"Si": "Ge"}, ConfigError, "Si cannot begin as Ge"),
        ({}, DataError, "element Si"),
    ],
)
def test_what_a_new_element_is_like_must_make_sense(tuned, tmp_path, like, error, message):
    data = {"train": write(tmp_path / "new.xyz", with_silicon(clusters(24)))}
    with pytest.raises(error, match=message):
        train(tuned(start={"new_elements": like}, data=data))


def test_a_new_element_that_only_a_test_set_has_is_refused(tuned, tmp_path):
    data = {"test": {"strange": write(tmp_path / "new.xyz", with_silicon(clusters(3)))}}
    with pytest.raises(DataError, match=r"Si \(strange set.*in no training structure"):
        train(tuned(start={"new_elements": "add"}, data=data))


def test_elements_that_the_data_do_not_have_can_be_dropped(tuned, tmp_path, trained):
    waters = [atoms for atoms in clusters(36) if len(atoms) == 3]
    data = {"train": write(tmp_path / "water.xyz", waters), "validation": 3}
    result = train(tuned("dropped", {"elements": "data"}, data=data))
    assert load_model(trained).elements.symbols == ("H", "C", "O")
    assert result.potential.elements.symbols == ("H", "O")
    before = load_model(result.directory / "start.safetensors")
    np.testing.assert_allclose(
        forces(before, waters), forces(load_model(trained), waters), rtol=1e-5, atol=1e-6
    )


def test_elements_that_the_data_do_not_have_are_kept_with_their_energies(
    tuned, tmp_path, trained, recorder
):
    waters = [atoms for atoms in clusters(36) if len(atoms) == 3]
    data = {"train": write(tmp_path / "water.xyz", waters), "validation": 3}
    parts = read_parts(
        tuned(data=data).data, 0, tmp_path / "split.json", reuse_split=False, message=print
    )
    found = make_start(tuned(data=data), parts, recorder.message).potential.elements
    own = load_model(trained).elements
    assert found.symbols == own.symbols
    carbon = own.symbols.index("C")
    assert found.reference_energies[carbon] == own.reference_energies[carbon]
    assert found.reference_energies[0] != own.reference_energies[0]


# --- frozen ------------------------------------------------------------------------------------


def test_frozen_parameters_stay_bit_for_bit_and_have_no_optimizer_state(tuned, trained, recorder):
    optimizer = {"frozen": ["embedding"], "weight_decay": 0.5, "learning_rates": {"kernel": 0.5}}
    result = train(tuned(optimizer=optimizer), reporter=recorder)
    before = by_path(load_model(trained).variables["params"])
    after = by_path(result.potential.variables["params"])
    assert same_bits(after["embedding"], before["embedding"])
    assert not same_bits(after["kernel"], before["kernel"])
    trained_numbers = before["kernel"].size + before["bias"].size
    assert recorder.started[0].num_parameters == trained_numbers
    assert (
        f"{trained_numbers:,} of them trained"
        in (result.directory / "report" / "report.md").read_text()
    )


# --- what cannot be started from ---------------------------------------------------------------


def test_a_model_section_that_disagrees_is_refused_by_setting(tuned):
    with pytest.raises(ConfigError, match=r"model\.width is 7, and .* has 6: leave the model sec"):
        train(tuned(model={"name": "pairs", "width": 7}))
    with pytest.raises(ConfigError, match=r"model\.name is 'mace', and .* has 'pairs'"):
        train(tuned(model={"name": "mace"}))
    assert train(tuned(model={"name": "pairs", "width": 6})).facts.outcome == "finished"


def test_a_compressed_model_cannot_be_trained(tuned, tmp_path):
    tables = Compression(rank=8, intervals=8)
    config = TensorNetConfig(num_channels=4, num_layers=0, compression=tables)
    potential = create_potential(config, ElementTable((1, 6, 8), np.zeros(3)), seed=0)
    save_model(tmp_path / "small.safetensors", potential)
    with pytest.raises(ConfigError, match="is a compressed model, which cannot be trained"):
        train(tuned(start={"model": str(tmp_path / "small.safetensors")}))


def test_a_head_that_the_file_does_not_have_cannot_be_trained(tuned):
    with pytest.raises(ConfigError, match=r"loss\.dipole: needs the dipole head"):
        train(tuned(loss={"dipole": {"weight": 1.0}}))


def test_a_model_without_energies_keeps_its_reference_energies(run_config, tmp_path, recorder):
    table = ElementTable((1, 6, 8), np.array([1.0, 2.0, 3.0]))
    potential = create_potential(PairConfig(heads=("dipole",)), table, seed=0)
    save_model(tmp_path / "dipole.safetensors", potential)
    loss = {"energy": None, "forces": None, "dipole": {"weight": 1.0}}
    config = run_config(
        start={"model": str(tmp_path / "dipole.safetensors")}, model=None, loss=loss
    )
    split = tmp_path / "split.json"
    parts = read_parts(config.data, 0, split, reuse_split=False, message=recorder.message)
    found = make_start(config, parts, recorder.message).references
    np.testing.assert_array_equal(found.energies, table.reference_energies)


# --- resuming ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_resumed_without_its_file_is_the_run_in_one_piece(tuned, old, trained, tmp_path):
    sections = {
        "data": replayed(old, reference_energies="least_squares"),
        "optimizer": {"frozen": ["bias"], "learning_rates": {"kernel": 2.0}},
    }
    file = tmp_path / "start.safetensors"
    shutil.copy(trained, file)
    start = {"model": str(file)}
    whole = train(tuned("whole", start, training={"epochs": 4}, **sections))
    train(tuned("pieces", start, training={"epochs": 2}, **sections))
    save_model(file, load_model(trained).replace(energy_scale=1.0))
    changed = Recorder()
    config = tuned("pieces", start, training={"epochs": 3}, **sections)
    train(config, resume=True, reporter=changed)
    assert any("has changed since the run began" in text for text in changed.messages)
    file.unlink()
    gone = Recorder()
    config = tuned("pieces", start, training={"epochs": 4}, **sections)
    pieces = train(config, resume=True, reporter=gone)
    assert any("is gone; the run goes on" in text for text in gone.messages)
    assert same_bits(pieces.potential.variables, whole.potential.variables)
    assert pieces.rows == whole.rows
    for name in ("report/errors.csv", "report/errors_before.csv", "start.safetensors"):
        one, two = ((run.directory / name).read_bytes() for run in (whole, pieces))
        assert one == two, name
    model = load_model(trained).config
    with pytest.raises(TrainingError, match=r"began from start\.model .*, not from random weights"):
        train(config.model_copy(update={"start": None, "model": model}), resume=True)


def test_a_saved_configuration_knows_the_file_it_was_made_for(tuned, trained, tmp_path):
    file = tmp_path / "start.safetensors"
    shutil.copy(trained, file)
    first = train(tuned(start={"model": str(file)}, training={"epochs": 1}))
    again = load_config(first.directory / "config.yaml", RunConfig)
    save_model(file, load_model(trained).replace(energy_scale=1.0))
    with pytest.raises(ConfigError, match="is not the file that this configuration was saved for"):
        train(again.model_copy(update={"directory": str(tmp_path / "again")}))
