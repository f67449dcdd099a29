"""Replay where the new data have a head of their own, and the replayed ones that of the old."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensornet_jax.config import ConfigError
from tensornet_jax.models import MODELS
from tensornet_jax.potential.heads import with_head
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.reporting import report
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
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
        config = configured(folder, path, training={"epochs": 12, "batch_size": 4})
        return train(config).directory / "model.safetensors"


def tuning(
    folder: Path, model: Path, replay: Any, data: Any = None, start: Any = None, **more: Any
) -> RunConfig:
    """Return a run of a new level of theory, the head `mine`, from a model."""
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


def forces_rmse(potential: Any, structures: Any) -> float:
    found = potential.evaluate(structures, ("forces",))
    errors = [f["forces"] - a.arrays["REF_forces"] for f, a in zip(found, structures, strict=True)]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def test_the_old_head_remembers_beside_the_new_one(unnamed, tmp_path):
    recorder, old = Recorder(), load_model(unnamed)
    longer = {"training": {"epochs": 8, "batch_size": 5}}
    result = train(tuning(tmp_path, unnamed, old_data(tmp_path), **longer), reporter=recorder)
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
    audit = "\n".join([*recorder.audited, *recorder.messages])
    assert "another zero" not in audit
    # Without replay the common network forgets it.
    alone = tuning(tmp_path / "alone", unnamed, None, **longer)
    forgotten = train(alone).potential
    unseen = clusters(20, 11, periodic=True)
    errors = [
        forces_rmse(with_head(each, "default"), unseen) for each in (result.potential, forgotten)
    ]
    assert errors[0] < 0.7 * errors[1], errors


def test_predictions_of_each_head_are_what_it_is_to_remember(unnamed, tmp_path):
    # A model with two heads, of which one is that of the old model.
    two = train(tuning(tmp_path / "two", unnamed, old_data(tmp_path))).directory
    path = write(tmp_path / "bare.xyz", [bare(atoms) for atoms in clusters(8, 7, periodic=True)])
    both = [{"file": path, "head": "default"}, {"file": path, "head": "mine"}]
    replay = {"train": both, "targets": "model", "validation": 4, "batch_size": 3}
    recorder, model = Recorder(), two / "model.safetensors"
    new = {"file": write(tmp_path / "more.xyz", clusters(9, 3, periodic=True)), "head": "third"}
    config = tuning(tmp_path, model, replay, [new], {"head": "default"})
    result = train(config, reporter=recorder)
    assert result.potential.config.levels == ("default", "mine", "third")
    first = recorder.validation_rows[0]
    for head in ("default", "mine"):
        assert first[f"replay_energy_mae_{head}"] < 1e-9
        assert first[f"replay_forces_mae_{head}"] < 1e-9
    assert first["loss_replay"] < 1e-15
    assert recorder.started[0].num_replay == 12


def bare(atoms: Any) -> Any:
    """Return a structure without labels."""
    atoms = atoms.copy()
    atoms.info, atoms.arrays = {}, {k: atoms.arrays[k] for k in ("numbers", "positions")}
    return atoms


def test_streamed_data_are_trained_on_beside_a_replay_set_with_heads(unnamed, tmp_path):
    logs = []
    for stream in (False, True):
        config = tuning(tmp_path / str(stream), unnamed, old_data(tmp_path))
        held = config.data.train[0].model_copy(  # type: ignore[union-attr]
            update={"file": (write(tmp_path / "v.xyz", other_level(5, 9)),)}
        )
        data = config.data.model_copy(update={"stream": stream, "validation": (held,)})
        directory = train(config.model_copy(update={"data": data})).directory
        logs.append([row["loss"] for row in read_rows(directory / "log_validation.csv")])
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-8)


def test_an_old_head_learns_an_element_from_what_is_replayed(unnamed, tmp_path):
    made = clusters(4, 8, periodic=True)
    silicon = with_silicon(clusters(8, 3, periodic=True))
    replay = old_data(tmp_path, validation=2)
    replay["train"]["file"] = write(tmp_path / "si.xyz", [*made, *silicon])
    start = {"new_elements": {"Si": "C"}}
    result = train(tuning(tmp_path, unnamed, replay, start=start))
    table = result.potential.elements
    assert table.numbers == (1, 6, 8, 14)
    assert np.isfinite(table.reference_energies[0]).all()
    assert np.isnan(table.reference_energies[1][3])
    # What it is to predict of an element that its head does not know cannot be remembered.
    replay |= {"targets": "model"}
    with pytest.raises(ValueError, match="no reference energy of Si"):
        train(tuning(tmp_path / "model", unnamed, replay, start=start))


@pytest.mark.parametrize(
    ("train_on", "replay", "message"),
    [
        ({"head": "b"}, {"train": "old.xyz"}, r"replay\.train\[0\].*needs the head that is to"),
        (
            {"head": "b"},
            {"train": {"file": "old.xyz", "head": "a"}, "validation": "v.xyz"},
            r"replay\.validation\[0\].*needs the head",
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
        train(config)


def test_replayed_energies_with_another_zero_are_refused(unnamed, tmp_path):
    frames = clusters(14, 7, periodic=True)
    for atoms in frames:
        atoms.info["REF_energy"] += 500.0 * len(atoms)
    replay = old_data(tmp_path)
    replay["train"]["file"] = write(tmp_path / "zero.xyz", frames)
    with pytest.raises(DataError, match="replay set of head default .* head of their own"):
        train(tuning(tmp_path, unnamed, replay))
