import csv
from pathlib import Path

import ase.io
import numpy as np
import pytest

from tensornet_jax.model_file import load_model


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
