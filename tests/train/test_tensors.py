"""Tensors from labels through loss, fit and metrics to a trained model on the command line."""

import json

import ase.build
import ase.io
import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.cli import app
from tensornet_jax.config import ConfigError
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.models.heads.tensor_config import known_head
from tensornet_jax.tensors import from_voigt, to_voigt
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import DataError
from tensornet_jax.train.evaluation.metrics import ErrorTable
from tensornet_jax.train.run import train

# Bond polarizabilities: along a bond and across it, Å³.
ALONG, ACROSS = 1.1, 0.4


def labelled(count: int, seed: int) -> list:
    """Water molecules with the sum of their bonds' polarizabilities and a dipole."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = ase.build.molecule("H2O")
        atoms.rattle(0.08, rng=rng)
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        bonds = atoms.positions[1:] - atoms.positions[0]
        axes = bonds / np.linalg.norm(bonds, axis=1)[:, None]
        along = np.einsum("bi,bj->ij", axes, axes)
        atoms.info["alpha"] = ACROSS * 2 * np.eye(3) + (ALONG - ACROSS) * along
        atoms.info["dipole"] = 0.3 * bonds.sum(axis=0)
        # Of the oxygen alone: twice its isotropic part, and a part across the bonds.
        cross = np.cross(*bonds)
        atoms.arrays["sigma"] = np.zeros((3, 9))
        atoms.arrays["sigma"][0] = (5 * np.eye(3) + np.outer(cross, cross)).ravel()
        atoms.arrays["known"] = np.array([1, 0, 0])
        structures.append(atoms)
    return structures


def settings(tmp_path, **changes) -> dict:
    ase.io.write(tmp_path / "data.xyz", labelled(48, 0), format="extxyz")
    return {
        "directory": str(tmp_path / "run"),
        "data": {
            "train": str(tmp_path / "data.xyz"),
            "validation": 8,
            "labels": {
                "tensors": {
                    "polarizability": "alpha",
                    "shielding": {"key": "sigma", "mask": "known"},
                }
            },
        },
        "model": {
            "name": "tensornet",
            "num_channels": 8,
            "num_layers": 0,
            "num_radial": 8,
            "cutoff": 3.0,
            "heads": ["dipole"],
            "dipole_form": "charges_and_dipoles",
            "tensors": [
                {"name": "polarizability", "unit": "Å³", "width": 8},
                {"name": "shielding", "symmetry": "ij", "per": "atom", "width": 8},
            ],
        },
        "loss": {"dipole": {"weight": 10.0}},
        "optimizer": {"learning_rate": 0.01, "ema_decay": 0.9},
        "training": {"epochs": 30, "batch_size": 8, "validate_every": 10},
        **changes,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensors")
    return folder, train(RunConfig.model_validate(settings(folder)))


def test_a_model_of_tensors_alone_learns_them(trained):
    _, result = trained
    rmse = {r.property: r.rmse for r in result.rows if r.data_set == "validation" and not r.element}
    # The labels' own spread is about 0.2 Å³, 0.1 e·Å and 0.4.
    assert rmse["polarizability"] < 0.03
    assert rmse["dipole"] < 0.02
    assert rmse["shielding"] < 0.1
    counts = {r.property: r.count for r in result.rows if r.data_set == "validation"}
    assert counts["shielding"] == 8 * 9, "masked atoms count nothing"


def test_the_command_line_evaluates_and_writes_them(trained):
    folder, result = trained
    model, data = str(folder / "run" / "model.safetensors"), str(folder / "data.xyz")
    keys = ["--label", "polarizability=alpha"]
    shown = CliRunner().invoke(app, ["evaluate", model, data, *keys])
    assert "polarizability degree 2" in shown.output, shown.output
    output = folder / "predicted.xyz"
    made = CliRunner().invoke(app, ["predict", model, data, str(output), *keys])
    assert made.exit_code == 0, made.output
    atoms = next(ase.io.iread(output, format="extxyz"))
    expected = result.potential.evaluate(atoms, ("polarizability", "shielding"))[0]
    found = np.reshape(atoms.info["predicted_polarizability"], (3, 3))
    np.testing.assert_allclose(found, expected["polarizability"], atol=1e-5)
    shape = atoms.arrays["predicted_shielding"].shape
    assert shape == (3, 9)


def test_the_calculator_has_them(trained):
    _, result = trained
    atoms = labelled(1, 3)[0]
    calculator = TensorNetCalculator(result.potential, compilation_cache=False)
    atoms.calc = calculator
    assert "polarizability" in calculator.implemented_properties
    expected = result.potential.evaluate(atoms, ("polarizability", "shielding", "dipole"))[0]
    for name in ("polarizability", "shielding", "dipole"):
        found = calculator.get_property(name, atoms)
        assert found is not None
        np.testing.assert_allclose(found, expected[name], atol=1e-5)


def test_isotropic_parts_and_sizes_are_those_of_the_training_labels(trained):
    folder, result = trained
    buffers = {
        path[-1].key: np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(result.potential.variables["buffers"])
        if isinstance(path[-1], jax.tree_util.DictKey)
    }
    chosen = json.loads((folder / "run" / "split.json").read_text())["train"]
    atoms = [labelled(48, 0)[k] for k in chosen]
    alpha = np.array([a.info["alpha"] for a in atoms])
    # H and O in the order of the table; the component of degree 0 is the trace over √3.
    h, o = buffers["baseline_polarizability"][:, 0]
    trace = np.trace(alpha, axis1=1, axis2=2)
    np.testing.assert_allclose(3**0.5 * (2 * h + o), trace.mean(), rtol=0.01)
    deviator = alpha - trace[:, None, None] / 3 * np.eye(3)
    size = np.sqrt(np.sum(deviator**2) / (5 * len(atoms)) / 3)
    np.testing.assert_allclose(buffers["scales_polarizability"][1], size, rtol=1e-5)


def test_labels_of_another_symmetry_are_refused(tmp_path):
    given = settings(tmp_path)
    given["model"]["tensors"][0] |= {"symmetry": "ij", "traceless": True}
    with pytest.raises(DataError, match="do not have the symmetry ij, without traces"):
        train(RunConfig.model_validate(given))


@pytest.mark.parametrize("section", ["loss", "data"])
def test_a_tensor_that_the_model_lacks_is_refused_where_it_is_named(tmp_path, section):
    given = settings(tmp_path)
    if section == "loss":
        given["loss"] = {"tensors": {"polarisability": {"weight": 1.0}}}
    else:
        given["data"]["labels"] = {"tensors": {"alpha": "alpha"}}
    with pytest.raises((ConfigError, ValueError), match="the model has no such tensor"):
        RunConfig.model_validate(given)


def test_elasticity_is_judged_by_moduli_and_by_stability():
    voigt = np.diag([300.0, 300, 300, 100, 100, 100])
    voigt[:3, :3] += 50
    stiff, soft = from_voigt(voigt, 2), from_voigt(voigt - 120 * np.eye(6), 2)
    table = ErrorTable("set", (known_head("elasticity"),))
    label = Labels(2, {"elasticity": stiff})
    for predicted in (1.1 * stiff, soft):
        table.add({"elasticity": predicted}, label, np.array([14, 14]))
    rows = {row.property: row for row in table.rows()}
    assert rows["elasticity indefinite"].mae == 0.5
    bulk = (voigt[0, 0] + 2 * voigt[0, 1]) / 3
    assert rows["elasticity bulk modulus"].count == 1
    np.testing.assert_allclose(rows["elasticity bulk modulus"].mae, 0.1 * bulk, rtol=1e-10)
    errors = [0.1 * to_voigt(stiff, 2), -120 * np.eye(6)]
    square = sum(np.sum(from_voigt(e, 2) ** 2) for e in errors) / (2 * 81)
    np.testing.assert_allclose(rows["elasticity"].rmse, square**0.5, rtol=1e-10)
