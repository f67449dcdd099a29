"""Replay where the new data have a head of their own, and the replayed ones that of the old."""

from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

from tensornet_jax.config import ConfigError
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.models import MODELS
from tensornet_jax.potential.heads import with_head, with_level_scales, with_more_heads
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.finetune.start import resolve
from tensornet_jax.train.loading import Loaded, load
from tensornet_jax.train.reporting import report
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory
from tests.train.levels import PairFeatures, configured, other_level, sections_in
from tests.train.small import PairConfig, Recorder, clusters, with_silicon, write

SHORT = {"epochs": 2, "batch_size": 5}


@pytest.fixture(autouse=True)
def model_with_heads(monkeypatch: pytest.MonkeyPatch, pair_model: None, no_plots: None) -> None:
    """Take it for the stand-in of a model."""
    monkeypatch.setitem(MODELS, "pairs", (PairConfig, PairFeatures))


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory) -> Path:
    """Return a trained model with one head that has no name."""
    folder = tmp_path_factory.mktemp("unnamed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "pairs", (PairConfig, PairFeatures))
        patch.setattr(report, "plot_parity", lambda *_: None)
        patch.setattr(report, "plot_learning_curves", lambda *_: None)
        path = write(folder / "old.xyz", clusters(24, 1, periodic=True))
        config = configured(folder, path, training={"epochs": 4, "batch_size": 4})
        return train(config).directory / "model.safetensors"


def tuning(
    folder: Path, model: Path, replay: Any, data: Any = None, start: Any = None, **more: Any
) -> RunConfig:
    """Return a run of a new level of theory, the head `mine`, from a model."""
    folder.mkdir(exist_ok=True)
    labels = sections_in(folder)[1]["labels"]
    new = {"file": write(folder / "mine.xyz", other_level(15, 5)), "head": "mine", "labels": labels}
    settings = {"train": data or [new], "validation": 5, "replay": replay}
    return configured(
        folder,
        None,
        data=settings,
        start={"model": str(model), **(start or {})},
        model=None,
        **{"training": SHORT, **more},
    )


def old_data(folder: Path, head: str = "default", **more: Any) -> dict[str, Any]:
    """Return a replay section of what the model was trained on."""
    path = write(folder / "replay.xyz", clusters(14, 7, periodic=True))
    return {"train": {"file": path, "head": head}, "validation": 4, "batch_size": 3, **more}


def loaded(config: RunConfig) -> Loaded:
    """Return what the first piece of a run loads, without taking a step."""
    directory = RunDirectory(Path(config.directory))
    directory.path.mkdir(parents=True)
    run = resolve(config, directory.path, False, print).completed()
    return load(run, directory, False, Recorder())


def test_the_old_head_remembers_beside_the_new_one(unnamed, tmp_path):
    recorder, old = Recorder(), load_model(unnamed)
    result = train(tuning(tmp_path, unnamed, old_data(tmp_path)), reporter=recorder)
    begun = load_model(tmp_path / "run" / "start.safetensors")
    assert begun.config.levels == result.potential.config.levels == ("default", "mine")
    # The old head keeps its isolated atoms, the new one has those of its data.
    energies = result.potential.elements.reference_energies
    np.testing.assert_array_equal(energies[0], old.elements.reference_energies)
    assert np.abs(energies[1] - energies[0]).min() > 100
    # Epoch 0 has the errors of the old model, each under its own head.
    first, last = recorder.validation_rows[0], recorder.validation_rows[-1]
    assert np.isnan(first["replay_forces_mae_mine"])
    assert first["replay_forces_rmse_default"] == first["replay_forces_rmse"]
    assert np.isnan(first["forces_rmse_default"])
    assert last["forces_rmse_mine"] < first["forces_rmse_mine"]
    names = {row.data_set for row in result.rows}
    assert {"train (mine)", "validation (mine)", "replay (default)"} <= names
    # Each read-out is trained by the structures of its own head.
    for place in (0, 1):
        kernels = [
            each.variables["params"]["energy"]["kernel_0"] for each in (begun, result.potential)
        ]
        before, after = (np.asarray(kernel)[place] for kernel in kernels)
        assert (before != after).all()


def bare(atoms: ase.Atoms) -> ase.Atoms:
    """Return a structure without labels."""
    return ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def test_predictions_of_each_head_are_what_it_is_to_remember(unnamed, tmp_path):
    model = tmp_path / "two.safetensors"
    two = with_more_heads(load_model(unnamed, dtype="float64"), {"mine": None})
    two = with_level_scales(two, (1.0, 0.25))
    save_model(model, two)
    path = write(tmp_path / "bare.xyz", [bare(atoms) for atoms in clusters(8, 7, periodic=True)])
    frames = [each.atoms for each in read_labelled(path)]
    both = [{"file": path, "head": "default"}, {"file": path, "head": "mine"}]
    replay = {"train": both, "targets": "model", "validation": 4, "batch_size": 3}
    new = {"file": write(tmp_path / "more.xyz", clusters(9, 3, periodic=True)), "head": "third"}
    found = loaded(tuning(tmp_path, model, replay, [new], {"head": "default"}))
    assert found.finetuned is not None
    assert found.finetuned.config.levels == ("default", "mine", "third")
    sets = found.data.replay
    assert sets is not None
    assert (len(sets.train), len(sets.validation)) == (12, 4)
    names = ("energy", "forces", "stress")
    each = {head: with_head(two, head).evaluate(frames, names) for head in ("default", "mine")}
    for structure in (*sets.train, *sets.validation):
        expected = each[str(structure.head)][int(structure.source.rpartition(":")[2])]
        assert structure.energy == pytest.approx(expected["energy"], rel=1e-12)
        for name in ("forces", "stress"):
            np.testing.assert_allclose(structure.labels[name], expected[name], atol=1e-10)
        # Counted from the isolated atoms of its head.
        head = found.finetuned.config.levels.index(str(structure.head))
        example = found.make(structure)
        lone = found.finetuned.elements.energies_of(example.structure.species, head).sum()
        lone += found.finetuned.energy_offset
        assert float(example.targets.of("energy")) == pytest.approx(structure.energy - lone)
    assert "replay (mine)" in found.data.all()


def test_streamed_data_are_trained_on_beside_a_replay_set_with_heads(unnamed, tmp_path):
    held, streamed = (tuning(tmp_path / name, unnamed, old_data(tmp_path)) for name in "ab")
    data = streamed.data.model_copy(update={"stream": True, "validation": streamed.data.train})
    one = held.model_copy(
        update={"data": held.data.model_copy(update={"validation": held.data.train})}
    )
    first, second = loaded(one), loaded(streamed.model_copy(update={"data": data}))
    assert first.facts == second.facts
    np.testing.assert_allclose(
        second.data.references.energies, first.data.references.energies, rtol=1e-12
    )
    sets = [each.data.replay for each in (first, second)]
    assert sets[0] is not None
    assert sets[1] is not None
    for mine, theirs in zip(sets[0].train, sets[1].train, strict=True):
        assert (mine.source, mine.head) == (theirs.source, theirs.head) == (mine.source, "default")
        assert mine.energy == theirs.energy
    assert set(second.data.all()) == {"train (mine)", "validation (mine)", "replay (default)"}


def test_an_old_head_learns_an_element_from_what_is_replayed(unnamed, tmp_path):
    made = clusters(4, 8, periodic=True)
    silicon = with_silicon(clusters(8, 3, periodic=True))
    replay = old_data(tmp_path, validation=2)
    replay["train"]["file"] = write(tmp_path / "si.xyz", [*made, *silicon])
    start = {"new_elements": {"Si": "C"}}
    potential = loaded(tuning(tmp_path, unnamed, replay, start=start)).finetuned
    assert potential is not None
    assert potential.elements.numbers == (1, 6, 8, 14)
    assert np.isfinite(potential.elements.reference_energies[0]).all()
    assert np.isnan(potential.elements.reference_energies[1]).tolist() == [False] * 3 + [True]
    # What it is to predict of an element that its head does not know cannot be remembered.
    replay |= {"targets": "model"}
    with pytest.raises(DataError, match="no head has a reference energy of Si"):
        loaded(tuning(tmp_path / "model", unnamed, replay, start=start))


@pytest.mark.parametrize(
    ("train_on", "replay", "message"),
    [
        ({"head": "b"}, {"train": "old.xyz"}, "replay.train.0\n.*needs the head that is to"),
        (
            {"head": "b"},
            {"train": {"file": "old.xyz", "head": "a"}, "validation": "v.xyz"},
            "replay.validation.0\n.*needs the head",
        ),
        ({}, {"train": {"file": "old.xyz", "head": "a"}}, "data.train has none: give the new"),
        (
            {"head": "b"},
            {"train": {"file": "o.xyz", "head": "a"}, "reference_energies": "least_squares"},
            "keep those of the starting model: leave it out",
        ),
        (
            {"head": "b"},
            {"train": {"file": "o.xyz", "head": "a", "reference_energies": {"H": -1.0}}},
            "has no meaning: the head keeps those",
        ),
    ],
)
def test_heads_of_replay_that_cannot_be_are_refused(train_on, replay, message):
    data = {"train": {"file": "new.xyz", **train_on}, "replay": replay}
    with pytest.raises(ValueError, match=message):
        RunConfig.model_validate({"directory": "r", "data": data, "start": {"model": "m"}})


def test_only_heads_of_the_starting_model_are_remembered(unnamed, tmp_path):
    config = tuning(tmp_path, unnamed, old_data(tmp_path, "pbe"))
    with pytest.raises(ConfigError, match=r"data\.replay: .* no head pbe .* only default"):
        loaded(config)


def test_replayed_energies_with_another_zero_are_refused(unnamed, tmp_path):
    frames = clusters(14, 7, periodic=True)
    for atoms in frames:
        atoms.info["REF_energy"] += 500.0 * len(atoms)
    replay = old_data(tmp_path)
    replay["train"]["file"] = write(tmp_path / "zero.xyz", frames)
    with pytest.raises(DataError, match=r"replay set of head default .* head of their own"):
        loaded(tuning(tmp_path, unnamed, replay))
