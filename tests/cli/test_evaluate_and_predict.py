import csv
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest

from tensornet_jax.data.readers import read_structures
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential


def table_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return {(r["config_type"], r["property"], r["element"]): r for r in csv.DictReader(file)}


def test_evaluate_prints_errors_per_property_element_and_config_type(
    cli, model, molecules, frames_of
):
    result = cli("evaluate", model, molecules, "--output", "table.csv")
    assert result.exit_code == 0, result.stderr
    rows = table_of("table.csv")
    assert {("all", "energy", ""), ("all", "forces", "H"), ("water", "forces", "O")} <= set(rows)

    found = load_model(model).evaluate(frames_of(molecules), ("energy", "forces"), 32)
    errors = np.concatenate([(f["forces"] - 0.1).ravel() for f in found])
    row = rows["all", "forces", ""]
    assert float(row["rmse"]) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-9)
    assert float(row["mae"]) == pytest.approx(np.mean(np.abs(errors)), rel=1e-9)
    assert f"{float(row['rmse']) * 1e3:.4g}" in result.stdout
    energy = float(rows["water", "energy", ""]["mae"])
    assert energy == pytest.approx(abs(found[0]["energy"] + 100.0), rel=1e-9)


def test_evaluate_tells_files_of_the_same_name_apart(cli, model, molecules, tmp_path):
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / molecules.name
    copy.write_bytes(molecules.read_bytes())
    result = cli("evaluate", model, molecules, copy)
    assert str(molecules) in result.stdout
    assert str(copy) in result.stdout


def test_evaluate_reads_named_labels_in_their_units(cli, model, frames_of):
    Path("named.xyz").write_text(
        '1\nProperties=species:S:1:pos:R:3 my_e=-23.060547830619026 pbc="F F F"\nH 0.0 0.0 0.0\n'
    )
    named = ("--label", "energy=my_e", "--unit", "energy=kcal/mol")
    result = cli("evaluate", model, "named.xyz", *named, "-o", "t.csv")
    assert result.exit_code == 0, result.stderr
    predicted = load_model(model).evaluate(frames_of("named.xyz"))[0]["energy"]
    error = float(table_of("t.csv")["all", "energy", ""]["mae"])
    assert error == pytest.approx(abs(predicted + 1.0), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--label", "energy"), "--label energy: write name=value"),
        (("--label", "enrgy=E"), "unknown key 'enrgy'; did you mean 'energy'"),
        (("--unit", "energy=cal"), "cal"),
        (("--label", "energy=absent"), "'absent', which no structure has"),
    ],
)
def test_wrong_label_options_are_named(cli, model, molecules, options, told):
    result = cli("evaluate", model, molecules, *options)
    assert result.exit_code == 2
    assert told in result.stderr


def test_evaluate_without_labels_says_so(cli, model, crystal):
    result = cli("evaluate", model, crystal)
    assert result.exit_code == 2
    assert "no label that this model predicts" in result.stderr


def test_predict_writes_predictions_beside_the_labels(cli, model, molecules, crystal, frames_of):
    ase.io.write("both.xyz", frames_of(molecules) + frames_of(crystal), format="extxyz")
    result = cli("predict", model, "both.xyz", "out.xyz")
    assert result.exit_code == 0, result.stderr
    frames = frames_of("out.xyz")
    assert len(frames) == 3
    potential = load_model(model)
    compute = ("energy", "energies", "forces")
    expected = potential.evaluate(frames[:2], compute, 32)
    expected += potential.evaluate(frames[2:], (*compute, "stress"), 32)
    for atoms, prediction in zip(frames, expected, strict=True):
        for name, value in prediction.items():
            place = atoms.arrays if name in ("energies", "forces") else atoms.info
            np.testing.assert_allclose(place[f"predicted_{name}"], value, atol=1e-6)
        assert "label_keys" not in atoms.info
    assert frames[0].info["REF_energy"] == -100.0
    assert "predicted_stress" not in frames[0].info
    assert np.abs(frames[2].info["predicted_stress"]).max() > 1e-5


def test_dtype_changes_the_precision_of_the_computation(cli, model, molecules, frames_of):
    for dtype in ("float32", "float64"):
        result = cli("predict", model, molecules, f"{dtype}.xyz", "--dtype", dtype)
        assert result.exit_code == 0, result.stderr
    single, double = (frames_of(f"{dtype}.xyz")[0] for dtype in ("float32", "float64"))
    difference = np.abs(single.arrays["predicted_forces"] - double.arrays["predicted_forces"])
    assert 0 < difference.max() < 1e-4


@pytest.mark.parametrize("suffix", [".traj", ".db"])
def test_predict_writes_what_its_suffix_says(cli, model, molecules, frames_of, suffix):
    out = f"out{suffix}"
    result = cli("predict", model, molecules, out)
    assert result.exit_code == 0, result.stderr
    expected = load_model(model).evaluate(frames_of(molecules), ("energy", "forces"), 32)
    for atoms, prediction in zip(frames_of(out), expected, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(prediction["energy"], abs=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), prediction["forces"], atol=1e-8)
    # The labels of the input are there too, and are what this package reads as labels.
    for atoms in read_structures(out):
        assert atoms.info["REF_energy"] == -100.0
        np.testing.assert_allclose(atoms.arrays["REF_forces"], 0.1)


@pytest.mark.parametrize("name", ["out.npz", "out.h5", "out.cif", "out"])
def test_formats_that_hold_no_predictions_are_refused(cli, model, molecules, tmp_path, name):
    result = cli("predict", model, molecules, name)
    assert result.exit_code == 2
    assert f"{name}: no format is known by this name: end it in .xyz, .extxyz, .traj, .db" in (
        result.stderr
    )
    assert list(tmp_path.glob("out*")) == []


def test_predict_names_bad_structures_and_keeps_the_others(cli, model, tmp_path, frames_of):
    frames = [ase.build.molecule("H2O") for _ in range(7)]
    for index, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=index)
    frames[2].numbers[0] = 92
    frames[5].positions[1] = frames[5].positions[2]
    ase.io.write("some.xyz", frames, format="extxyz")
    for batch_size in (2, 32):
        out = f"out_{batch_size}.xyz"
        result = cli("predict", model, "some.xyz", out, "--batch-size", batch_size)
        assert result.exit_code == 1
        assert "some.xyz:2: element U is not in the model" in result.stderr
        assert "some.xyz:5: " in result.stderr
        good = [frames[k] for k in (0, 1, 3, 4, 6)]
        expected = load_model(model).evaluate(good, ("energy",))
        found = frames_of(out)
        assert [atoms.info["input_index"] for atoms in found] == [0, 1, 3, 4, 6]
        for atoms, prediction in zip(found, expected, strict=True):
            energy = atoms.info["predicted_energy"]
            assert energy == pytest.approx(prediction["energy"], abs=1e-8)


def test_predict_and_evaluate_overwrite_only_when_asked(cli, model, molecules, frames_of):
    for command, out in (
        (("predict", model, molecules, "out.xyz"), "out.xyz"),
        (("evaluate", model, molecules, "--output", "table.csv"), "table.csv"),
    ):
        assert cli(*command).exit_code == 0
        before = Path(out).read_bytes()
        Path(out).write_bytes(before + b" ")
        result = cli(*command)
        assert result.exit_code == 2
        assert f"{out} exists" in result.stderr
        assert Path(out).read_bytes() == before + b" "
        assert cli(*command, "--force").exit_code == 0
        assert Path(out).read_bytes() == before


def test_a_prediction_that_is_not_finite_is_left_out(cli, model, molecules, monkeypatch, frames_of):
    evaluate = Potential.evaluate

    def blown_up(self, structures, *arguments, **named):
        found = evaluate(self, structures, *arguments, **named)
        for atoms, prediction in zip(structures, found, strict=True):
            if len(atoms) == 3:
                prediction["forces"] = prediction["forces"] * np.nan
        return found

    monkeypatch.setattr(Potential, "evaluate", blown_up)
    result = cli("predict", model, molecules, "out.xyz")
    assert result.exit_code == 1
    assert f"{molecules}:0: the model's forces are not finite" in result.stderr
    assert [len(atoms) for atoms in frames_of("out.xyz")] == [5]
