"""Data sets of several levels of theory, each with a head of the model of its own."""

from typing import Any

import ase
import numpy as np
import pytest

from tensornet_jax.config import ConfigError, load_config
from tensornet_jax.models import MODELS
from tensornet_jax.potential.heads import level_scales, with_head
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import read_data_sets
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.finetune.start import load_start
from tensornet_jax.train.reporting import report
from tensornet_jax.train.reporting.result import TrainingResult
from tensornet_jax.train.run import train
from tests.train.levels import PairFeatures, configured, sections_in
from tests.train.small import ZEROS, PairConfig, Recorder, clusters, same_bits, write


@pytest.fixture(autouse=True)
def model_with_heads(monkeypatch: pytest.MonkeyPatch, pair_model: None) -> None:
    """Take it for the stand-in of a model."""
    monkeypatch.setitem(MODELS, "pairs", (PairConfig, PairFeatures))


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[TrainingResult, Recorder, list[dict[str, Any]]]:
    """Return one run on both data sets, what it told, and the sections of its data."""
    folder, recorder = tmp_path_factory.mktemp("heads"), Recorder()
    sections = sections_in(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "pairs", (PairConfig, PairFeatures))
        patch.setattr(report, "plot_parity", lambda *_: None)
        patch.setattr(report, "plot_learning_curves", lambda *_: None)
        result = train(configured(folder, sections), reporter=recorder)
    return result, recorder, sections


def bonding(potential: Potential, structures: list[ase.Atoms]) -> np.ndarray:
    """Return energies less those of isolated atoms, eV."""
    numbers = list(potential.elements.numbers)
    zeros = [
        sum(potential.elements.reference_energies[numbers.index(z)] for z in atoms.numbers)
        for atoms in structures
    ]
    found = potential.evaluate(structures, ("energy",))
    return np.array([each["energy"] for each in found]) - zeros


def test_two_levels_of_theory_train_together(both):
    result, recorder, _ = both
    potential = result.potential
    assert potential.config.levels == ("strong", "weak")
    audit = "\n".join([*recorder.audited, *recorder.messages])
    for complaint in ("level of theory", "of one calculation", "another energy"):
        assert complaint not in audit
    structures = clusters(6, 3, periodic=True)
    for head, factor, zeros in (("strong", 1.0, {}), ("weak", 0.5, ZEROS)):
        found = with_head(potential, head).evaluate(structures)
        for atoms, values in zip(structures, found, strict=True):
            lone = sum(zeros.get(symbol, -1000.0) for symbol in atoms.symbols)
            energy = factor * (atoms.info["REF_energy"] + 1000.0 * len(atoms)) + lone
            # Isolated atoms of the two levels are hundreds of eV apart.
            assert abs(values["energy"] - energy) < 20.0
    strong, weak = level_scales(potential)
    assert strong / weak == pytest.approx(2.0, rel=0.3)


def test_errors_are_told_head_by_head(both):
    result, recorder, _ = both
    rows = {(row.data_set, row.property) for row in result.rows}
    for head in ("strong", "weak"):
        assert (f"validation ({head})", "energy") in rows
    assert ("train (strong)", "stress") in rows
    assert ("train (weak)", "stress") not in rows
    last = recorder.validation_rows[-1]
    each = [last[f"forces_rmse_{head}"] for head in ("strong", "weak")]
    assert min(each) <= last["forces_rmse"] <= max(each)
    assert np.isnan(last["stress_mae_weak"])
    assert last["loss"] < recorder.validation_rows[0]["loss"]


def test_a_model_file_holds_all_heads(both):
    result, _, _ = both
    loaded = load_model(result.directory / "model.safetensors")
    assert same_bits(loaded.variables, result.potential.variables)
    energies = loaded.elements.reference_energies
    assert energies.shape == (2, 3)
    np.testing.assert_array_equal(energies, result.potential.elements.reference_energies)


def test_the_order_of_data_sets_changes_neither_heads_nor_their_energies(both, tmp_path):
    _, _, sections = both
    found = []
    for name, order in (("one", sections), ("other", sections[::-1])):
        data = configured(tmp_path, order).data.model_copy(update={"validation": "none"})
        path = tmp_path / f"{name}.json"
        sets = read_data_sets(data, 0, path, reuse_split=False, message=print)
        assert data.heads() == ("strong", "weak")
        found.append(sets.references.energies)
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_data_of_one_head_are_a_run_as_without_a_name(both, tmp_path):
    (first, _), frames = both[2], clusters(12, 1, periodic=True)
    path = write(tmp_path / "one.xyz", frames)
    short = {"training": {"epochs": 1, "batch_size": 4}}
    named, unnamed = (
        train(configured(tmp_path / kind, source, **short))
        for kind, source in (("named", [first | {"file": path}]), ("unnamed", path))
    )
    assert named.potential.config.levels == ("strong",)
    assert same_bits(named.potential.variables, unnamed.potential.variables)
    (found,), (expected,) = (each.potential.evaluate(frames[0]) for each in (named, unnamed))
    assert found["energy"] == expected["energy"]


# --- runs that start from a trained model ------------------------------------------------------


def test_a_run_goes_on_with_one_head(both, tmp_path):
    result, _, sections = both
    start = {"model": str(result.directory / "model.safetensors"), "head": "weak"}
    source = {key: value for key, value in sections[1].items() if key != "head"}
    tuned = train(
        configured(tmp_path, [source], start=start, model=None, training={"epochs": 1})
    ).potential
    assert tuned.config.levels == ("weak",)
    before = with_head(result.potential, "weak")
    assert tuned.energy_scale == before.energy_scale
    assert tuned.elements.reference_energies.shape == (3,)


def test_a_new_head_stands_beside_the_old_ones(both, tmp_path):
    result, _, sections = both
    start = {"model": str(result.directory / "model.safetensors"), "head": "strong"}
    new = sections[1] | {"head": "newest"}
    run = {"start": start, "model": None, "training": {"epochs": 1}}
    config = configured(tmp_path, [new, sections[0] | {"weight": 0.5}], "none", **run)
    tuned = train(config).potential
    assert tuned.config.levels == ("strong", "weak", "newest")
    old, begun = result.potential, load_model(tmp_path / "run" / "start.safetensors")
    structures = clusters(4, 5, periodic=True)
    for head in ("strong", "weak"):
        before, after = (with_head(each, head).evaluate(structures) for each in (old, begun))
        for one, other in zip(before, after, strict=True):
            assert other["energy"] == pytest.approx(one["energy"], rel=1e-12)
    # What a resumed run reads back.
    references = load_start(
        load_config(tmp_path / "run" / "config.yaml", ResolvedRun), tmp_path / "run"
    ).references
    np.testing.assert_array_equal(references.energies, begun.elements.reference_energies)
    # It begins as the one it is like, counted from its own isolated atoms.
    like, own = (with_head(begun, head) for head in ("strong", "newest"))
    np.testing.assert_allclose(bonding(own, structures), bonding(like, structures), atol=1e-9)
    assert abs(own.elements.reference_energies - like.elements.reference_energies).min() > 100
    # Nobody has trained the read-out of a head without data.
    place = tuned.config.levels.index("weak")
    for each in (begun, tuned):
        kernel = np.asarray(each.variables["params"]["energy"]["kernel_0"])
        same = kernel[place] == np.asarray(old.variables["params"]["energy"]["kernel_0"])[1]
        assert same.all()
    moved = np.asarray(tuned.variables["params"]["energy"]["kernel_0"])[[0, 2]]
    assert (moved != np.asarray(begun.variables["params"]["energy"]["kernel_0"])[[0, 2]]).all()


@pytest.mark.parametrize(
    ("start", "head", "message"),
    [
        ({}, None, r"start\.head.*strong, weak"),
        ({"head": "medium"}, None, "no head 'medium', only strong, weak"),
        ({}, "newest", "new heads .newest. begin as one that the model has"),
        ({"head": "strong"}, "weak", "leave start.head out"),
    ],
)
def test_a_head_to_start_from_has_to_be_there(both, tmp_path, start, head, message):
    result, _, sections = both
    source = {key: value for key, value in sections[1].items() if key != "head"}
    source |= {} if head is None else {"head": head}
    start = {"model": str(result.directory / "model.safetensors"), **start}
    with pytest.raises(ConfigError, match=message):
        train(configured(tmp_path, [source], start=start, model=None))


# --- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": [{"file": "a.xyz", "head": "a"}, "b.xyz"]}, "needs a head, as others have"),
        ({"validation": "c.xyz"}, "needs a head, as others have"),
        ({"test": {"hot": {"file": "c.xyz", "head": "c"}}}, "no section of train has the head c"),
        ({"train": [{"file": "a.xyz", "head": "a/b"}]}, "part of a file name"),
        ({"train": [{"file": "a.xyz", "reference_energies": "none"}]}, "head: NAME"),
        (
            {
                "train": [
                    {"file": "a.xyz", "head": "a", "reference_energies": {"H": -13.6}},
                    {"file": "b.xyz", "head": "a", "reference_energies": {"H": -0.5}},
                ]
            },
            "given twice",
        ),
    ],
)
def test_heads_that_contradict_each_other_are_refused(change, message):
    train = [{"file": "a.xyz", "head": "a"}, {"file": "b.xyz", "head": "b"}]
    with pytest.raises(ValueError, match=message):
        RunConfig.model_validate({"directory": "run", "data": {"train": train} | change})


def test_a_file_that_says_another_head_is_refused(both, tmp_path):
    sections = both[2]
    frames = clusters(12, 1, periodic=True)
    for atoms in frames:
        atoms.info["head"] = "weak"
    wrong = sections[0] | {"file": write(tmp_path / "wrong.xyz", frames)}
    data = configured(tmp_path, [wrong, sections[1]]).data
    with pytest.raises(DataError, match=r"wrong\.xyz:0 says head=weak"):
        read_data_sets(data, 0, tmp_path / "split.json", reuse_split=False, message=print)


def test_weights_of_a_data_set_multiply_those_of_its_structures(tmp_path):
    frames = clusters(12, 1)
    frames[0].info["config_weight"] = 3.0
    source = {"file": write(tmp_path / "some.xyz", frames), "weight": 0.5}
    data = configured(tmp_path, [source]).data.model_copy(update={"validation": "none"})
    sets = read_data_sets(data, 0, tmp_path / "split.json", reuse_split=False, message=print)
    assert [each.weights.of("forces") for each in sets.train[:2]] == [1.5, 0.5]
