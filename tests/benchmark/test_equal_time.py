"""Errors, splits, settings and tables of the comparison at equal time."""

import json
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from benchmarks.equal_time.data import (
    SETS,
    Labels,
    Split,
    counted_from,
    errors,
    labels_of,
    load_labels,
    read_split,
    reference_energies,
    save_labels,
)
from benchmarks.equal_time.ours import MODELS, RECIPES, configurations, merged, recipe_named
from benchmarks.equal_time.peers import PEERS, mace_settings, torchmdnet_settings
from benchmarks.equal_time.report import best_recipes, error_table, report

WATER = [8, 1, 1]


def labelled(energy: float, *, forces: bool = True, seed: int = 0) -> ase.Atoms:
    random = np.random.default_rng(seed)
    atoms = ase.Atoms(WATER, random.normal(size=(3, 3)))
    found = {"forces": random.normal(size=(3, 3))} if forces else {}
    atoms.calc = SinglePointCalculator(atoms, energy=energy, **found)
    return atoms


def written(folder: Path, files: dict[str, list[ase.Atoms]]) -> Path:
    folder.mkdir(parents=True)
    for name, frames in files.items():
        ase.io.write(folder / name, frames, format="extxyz")
    return folder


# --- errors ----------------------------------------------------------------------------------


def test_errors_are_those_of_whole_structures_and_of_force_components():
    labels = Labels(np.array([-1.0, 2.0]), np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))
    predicted = Labels(
        np.array([-1.003, 2.001]), labels.forces + np.array([[0.002, 0, 0], [0, 0, -0.004]])
    )
    found = errors(labels, predicted)
    assert found["energies_mae"] == pytest.approx(2.0)
    assert found["energies_rmse"] == pytest.approx(np.sqrt((9 + 1) / 2))
    assert found["forces_mae"] == pytest.approx(1.0)
    assert found["forces_rmse"] == pytest.approx(np.sqrt((4 + 16) / 6))


def test_differences_of_large_energies_are_of_float64():
    labels = Labels(np.array([-17660.4617]), np.full((1, 3), np.nan))
    found = errors(labels, Labels(labels.energies + 1e-6, np.zeros((1, 3))))
    # In float32 the next number is 2 meV away.
    assert found["energies_mae"] == pytest.approx(1e-3, rel=1e-4)


def test_a_property_without_labels_has_no_error():
    labels = labels_of([labelled(1.0, forces=False)])
    found = errors(labels, Labels(np.array([1.5]), np.zeros((3, 3))))
    assert found == {"energies_mae": pytest.approx(500), "energies_rmse": pytest.approx(500)}


def test_structures_without_forces_are_left_out_of_force_errors():
    structures = [labelled(0.0, seed=1), labelled(0.0, forces=False)]
    labels = labels_of(structures)
    predicted = Labels(labels.energies, np.nan_to_num(labels.forces) + 0.001)
    predicted.forces[3:] += 100.0
    assert errors(labels, predicted)["forces_mae"] == pytest.approx(1.0)


def test_predictions_of_others_or_that_are_no_numbers_are_refused():
    labels = Labels(np.zeros(2), np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"\(3, 3\) predicted for labels of shape \(4, 3\)"):
        errors(labels, Labels(np.zeros(2), np.zeros((3, 3))))
    with pytest.raises(ValueError, match="not finite"):
        errors(labels, Labels(np.array([0.0, np.nan]), np.zeros((4, 3))))


def test_predictions_come_back_from_their_file(tmp_path):
    predicted = {"MD": Labels(np.arange(2.0), np.ones((4, 3))), "a/b": labels_of([labelled(1.0)])}
    save_labels(tmp_path / "predictions.npz", predicted)
    found = load_labels(tmp_path / "predictions.npz")
    assert list(found) == list(predicted)
    for name, each in predicted.items():
        np.testing.assert_array_equal(found[name].energies, each.energies)
        np.testing.assert_array_equal(found[name].forces, each.forces)


# --- data ------------------------------------------------------------------------------------


def test_reference_energies_leave_what_composition_does_not_say():
    structures = [labelled(-2000.0 + k, seed=k) for k in range(3)]
    references = reference_energies(structures)
    left = labels_of(structures).energies - counted_from(references, structures)
    np.testing.assert_allclose(left, [-1.0, 0.0, 1.0], atol=1e-9)
    with pytest.raises(KeyError):
        counted_from(references, [ase.Atoms("He")])


def test_parts_of_a_split_share_no_structure_and_are_always_the_same(tmp_path):
    frames = [labelled(float(k), seed=k) for k in range(100)]
    data = written(tmp_path / "data" / "3bpa", {"train_300K.xyz": frames}).parent
    split, again = read_split(data, "3bpa"), read_split(data, "3bpa")
    parts = [split.train, split.validation, split.tests["held_out"]]
    assert [len(part) for part in parts] == [25, 25, 50]
    energies = [labels_of(part).energies for part in parts]
    assert sorted(np.concatenate(energies)) == [float(k) for k in range(100)]
    np.testing.assert_array_equal(energies[0], labels_of(again.train).energies)
    assert list(split.evaluated()) == ["validation", "held_out"]
    assert [len(each) for each in read_split(data, "3bpa", 3).evaluated().values()] == [3, 3]


def test_tests_that_are_not_there_are_left_out_but_not_what_is_trained_on(tmp_path):
    frames = [labelled(float(k)) for k in range(60)]
    tests = {"test_MD.xyz": frames[:2]}
    data = written(tmp_path / "data" / "rmd17_ethanol", {"train.xyz": frames} | tests).parent
    assert list(read_split(data, "ethanol").tests) == ["MD"]
    with pytest.raises(FileNotFoundError, match=r"acac with train_300K\.xyz is needed"):
        read_split(data, "acac")


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_configuration(tmp_path, model, name):
    configs = configurations(model, recipe_named(name), tmp_path, 100, 20.0, 0)
    assert sum(config.training.epochs for config in configs) == 100
    assert all(config.training.max_minutes == 20 for config in configs)
    assert len(configs) == (2 if RECIPES[name].second else 1)


def test_recipes_are_joined(tmp_path):
    recipe = recipe_named("muon+narrow+faster+faster+cutoff_4")
    (config,) = configurations("tensornet", recipe, tmp_path, 10, 1.0, 3)
    assert config.optimizer.name == "muon"
    assert config.optimizer.learning_rate == pytest.approx(8e-3)
    assert config.model is not None
    assert config.model.cutoff == 4.0
    assert config.model.model_dump()["num_channels"] == 64
    assert config.seed == 3
    with pytest.raises(ValueError, match="no recipe 'no such'"):
        recipe_named("muon+no such")


def test_a_second_stage_goes_on_with_other_weights_of_the_loss(tmp_path):
    first, last = configurations("mace", recipe_named("two_stages"), tmp_path, 100, 20.0, 0)
    assert (first.training.epochs, last.training.epochs) == (75, 25)
    assert last.start is not None
    assert last.start.model == str(tmp_path / "run_1" / "model.safetensors")
    assert last.optimizer.learning_rate == pytest.approx(0.1 * first.optimizer.learning_rate)
    assert [each.loss.energy and each.loss.energy.weight for each in (first, last)] == [1, 1000]


def test_sections_are_put_into_one_another_but_schedules_replaced():
    base = {
        "loss": {"energy": {"weight": 1}},
        "optimizer": {"schedule": {"name": "cosine", "w": 1}},
    }
    changes = {"loss": {"energy": {"kind": "mae"}}, "optimizer": {"schedule": {"name": "constant"}}}
    assert merged(base, changes) == {
        "loss": {"energy": {"weight": 1, "kind": "mae"}},
        "optimizer": {"schedule": {"name": "constant"}},
    }


@pytest.fixture
def split():
    frames = [labelled(-2000.0 + 0.1 * k, seed=k) for k in range(9)]
    return Split(frames[:6], frames[6:8], {"held_out": frames[8:]})


def test_what_peers_count_in_epochs_is_fitted_to_the_epochs(split):
    found = mace_settings(split, 120, {"lr": 0.1}, 7)
    assert found["start_stage_two"] == 90
    assert (found["lr"], found["seed"], found["energy_weight"]) == (0.1, 7, 3)
    found = torchmdnet_settings(split, 120, {"batch_size": 3}, 7)
    # 240 steps of 3 of 6 structures.
    assert (found["lr_warmup_steps"], found["lr_patience"], found["batch_size"]) == (12, 2, 3)
    assert torchmdnet_settings(split, 10**6, {}, 0)["lr_warmup_steps"] == 500


def test_mace_torch_gets_energies_counted_from_the_references(tmp_path, split):
    peer = PEERS["mace-torch"]
    peer.write(split, tmp_path)
    frames = list(ase.io.iread(tmp_path / "train.xyz", ":"))
    energies = [atoms.info["REF_energy"] for atoms in frames]
    np.testing.assert_allclose(energies, 0.1 * (np.arange(6) - 2.5), atol=1e-9)
    forces = np.concatenate([atoms.arrays["REF_forces"] for atoms in frames])
    np.testing.assert_allclose(forces, labels_of(split.train).forces, atol=1e-7)
    line = peer.arguments(tmp_path, peer.settings(split, 8, {}, 0))
    assert "--start_stage_two=6" in line
    (tmp_path / "peer.model").touch()
    assert peer.model(tmp_path).name == "peer.model"
    (tmp_path / "peer_stagetwo.model").touch()
    assert peer.model(tmp_path).name == "peer_stagetwo.model"


def test_torchmdnet_gets_the_same_split(tmp_path, split):
    peer = PEERS["torchmd-net"]
    peer.write(split, tmp_path)
    energies = np.load(tmp_path / "energies.npy")
    np.testing.assert_allclose(energies[:6, 0], 0.1 * (np.arange(6) - 2.5), atol=1e-6)
    assert np.load(tmp_path / "given_splits.npz")["idx_val"].tolist() == [6, 7]
    line = peer.arguments(tmp_path, peer.settings(split, 8, {}, 0))
    # YAML takes 1e-08 for a text.
    text = Path(line[-1]).read_text(encoding="utf-8")
    assert '"lr_min": 1.0e-08' in text
    assert json.loads(text)["splits"] == str(tmp_path / "given_splits.npz")


def test_the_best_checkpoint_of_torchmdnet_is_that_of_its_log(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    for epoch in (1, 7, 9):
        (log / f"epoch={epoch}-val_loss=0.0001.ckpt").touch()
    rows = ["0.0,0.00005", "1.0,0.00014", ",", "7.0,0.00011", "8.0,0.00001", "9.0,0.00012"]
    text = "\n".join(["epoch,val_total_mse_loss", *rows])
    (log / "metrics.csv").write_text(text, encoding="utf-8")
    # Those of epochs 0 and 8 are not kept.
    assert PEERS["torchmd-net"].model(tmp_path).stem == "epoch=7-val_loss=0.0001"


def test_torchmdnet_takes_molecules_of_the_same_atoms_alone(tmp_path, split):
    split.train.append(ase.Atoms("H3", np.eye(3), calculator=split.train[0].calc))
    with pytest.raises(ValueError, match="same atoms in the same order"):
        PEERS["torchmd-net"].write(split, tmp_path)


# --- tables ----------------------------------------------------------------------------------


def run(code: str, recipe: str, validation: float, forces: float, minutes: float = 20.0):
    each = {"energies_mae": 0.5, "energies_rmse": 1.0, "forces_mae": 3.0, "forces_rmse": forces}
    return {
        "set": "acac",
        "code": code,
        "version": "1.0",
        "recipe": recipe,
        "minutes": minutes,
        "threads": 2,
        "epochs": 40,
        "seconds": 1190.0,
        "parameters": 123456,
        "errors": {
            "validation": each | {"forces_rmse": validation},
            "300K": each,
            "dihedral": {"energies_mae": 7.0, "energies_rmse": 8.0},
        },
    }


def test_validation_chooses_the_recipe_and_not_the_test():
    records = [
        run("mace", "a", 9.0, 1.0),
        run("mace", "b", 8.0, 2.0),
        run("mace", "a", 1.0, 3.0, 120),
    ]
    assert [(each["recipe"], each["minutes"]) for each in best_recipes(records)] == [
        ("b", 20.0),
        ("a", 120),
    ]


def test_the_table_has_tests_by_codes_with_the_best_forces_bold():
    lines = error_table(
        [run("tensornet", "default", 9.0, 6.0), run("mace-torch", "default", 9, 7.04)], "rmse"
    )
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        "set",
        "test, RMSE",
        "TensorNet",
        "mace-torch",
        "published",
    ]
    (row,) = [line for line in lines if "300K" in line]
    assert "1.00 / **6.0**" in row
    assert "1.00 / 7.0 |" in row
    assert "MACE 0.9 / 5.1" in row
    (row,) = [line for line in lines if "dihedral" in line]
    assert row.count("8.00 |") == 2


def test_a_code_that_was_not_run_on_a_set_leaves_a_gap():
    other = run("mace", "default", 9.0, 6.0) | {"set": "3bpa"}
    lines = error_table([run("tensornet", "default", 9.0, 6.0), other], "mae")
    (row,) = [line for line in lines if "acac" in line and "300K" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")][2:4] == ["0.50 / **3.0**", ""]


def test_the_page_has_a_section_for_every_time():
    records = [run("tensornet", "default", 9.0, 6.0), run("tensornet", "muon", 9.5, 6.0, 120.0)]
    machine = {"processor": "a processor", "device": "cpu"}
    text = report({"machine": machine, "records": records})
    assert text.index("## 20 minutes") < text.index("## 120 minutes")
    assert "| 19.8 |" in " ".join(text.split())
    assert "123,456" in text


def test_all_sets_are_published_ones():
    assert set(SETS) == {"acac", "3bpa", "ethanol"}
