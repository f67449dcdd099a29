"""A property the package does not know: one row and one head carry it from labels to records.

The charges of Hirshfeld's partition stand for it, a number for each atom; a band gap beside them
has no row and is a section in the model's configuration.
"""

from typing import Any

import ase
import ase.build
import ase.io
import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from tensornet_jax import properties
from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.cli import app
from tensornet_jax.interop.stablehlo.export import describe
from tensornet_jax.md import NVE, Record, Simulation
from tensornet_jax.md.output.recorder import Recorder
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.properties import Property, register
from tensornet_jax.testing import check_equivariance
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.run import train

NAME = "hirshfeld_charges"
ROW = Property(
    NAME,
    "Hirshfeld charges",
    "e",
    per="atom",
    quantity="charge",
    aliases=("hirshfeld", "q_hirshfeld"),
    shown_unit="me",
    shown_factor=1e3,
)
GAP = {"name": "band_gap", "symmetry": "scalar", "mean": True, "unit": "eV", "width": 8}
SIZE = {"num_channels": 8, "num_layers": 0, "num_radial": 8, "cutoff": 3.0}


@pytest.fixture(scope="module", autouse=True)
def row():
    register(ROW)
    yield ROW
    del properties._rows[NAME]


def water(seed: int) -> ase.Atoms:
    """A molecule with charges that its bonds decide, and a gap that falls with their length."""
    rng = np.random.default_rng(seed)
    atoms = ase.build.molecule("H2O")
    atoms.rattle(0.08, rng=rng)
    atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
    lengths = np.linalg.norm(atoms.positions[1:] - atoms.positions[0], axis=1)
    given = 0.3 - 0.2 * (lengths - 1)
    atoms.arrays["hirshfeld"] = np.array([-given.sum(), *given])
    atoms.info["band_gap"] = 8.0 - lengths.sum()
    return atoms


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scalars")
    structures = [water(seed) for seed in range(40)]
    # Two labels that do not count.
    structures[0].arrays["hirshfeld"][:] = np.nan
    structures[1].info[f"config_{NAME}_weight"] = 0.0
    ase.io.write(folder / "data.xyz", structures, format="extxyz")
    settings = {
        "directory": str(folder / "run"),
        "dtype": "float64",
        "data": {"train": str(folder / "data.xyz"), "validation": 8},
        "model": {"name": "tensornet", "heads": [], "tensors": [NAME, GAP], **SIZE},
        "loss": {"tensors": {NAME: {"weight": 2.0, "kind": "mae"}}},
        "optimizer": {"learning_rate": 0.01, "ema_decay": 0.9},
        "training": {"epochs": 20, "batch_size": 8, "validate_every": 10},
    }
    titles = []
    with pytest.MonkeyPatch.context() as patch:
        saved = Figure.savefig

        def savefig(figure: Figure, *args, **options):
            titles.extend(axes.get_title() for axes in figure.axes)
            saved(figure, *args, **options)

        patch.setattr(Figure, "savefig", savefig)
        return folder, train(RunConfig.model_validate(settings)), titles


@pytest.fixture(scope="module")
def potential() -> Potential:
    config = TensorNetConfig.model_validate({"tensors": [NAME, GAP], **SIZE})
    elements = ElementTable((1, 8), np.zeros(2))
    return create_potential(config, elements, seed=0, dtype="float64")


def test_labels_are_found_under_an_alias_and_learned(trained):
    _, result, _ = trained
    rows = {r.property: r for r in result.rows if r.data_set == "validation" and not r.element}
    # Their spread within an element is about 0.025 e and 0.15 eV.
    assert rows[NAME].rmse < 0.015
    assert rows["band_gap"].rmse < 0.1
    assert (rows[NAME].unit, rows["band_gap"].unit) == ("e", "eV")
    counts = {r.data_set: r.count for r in result.rows if r.property == NAME and not r.element}
    assert sum(counts.values()) == 3 * (40 - 2)
    elements = {r.element for r in result.rows if r.property == NAME}
    assert elements == {"", "H", "O"}


def test_the_loss_has_a_term_and_reports_have_unit_and_title(trained):
    folder, _, titles = trained
    header, *_ = (folder / "run" / "log_validation.csv").read_text().splitlines()
    assert {f"loss_{NAME}", f"{NAME}_mae", "band_gap_rmse"} < set(header.split(","))
    assert {"Hirshfeld charges", "Band gap", "Hirshfeld charges, validation"} < set(titles)
    (line,) = [
        line
        for line in (folder / "run" / "report" / "report.md").read_text().splitlines()
        if line.startswith("| validation") and "| hirshfeld charges |" in line and "|  " in line
    ][:1]
    assert line.rstrip(" |").endswith(" me")


def test_the_command_line_evaluates_and_writes_it(trained):
    folder, result, _ = trained
    model, output = folder / "run" / "model.safetensors", folder / "predicted.xyz"
    shown = CliRunner().invoke(app, ["evaluate", str(model), str(folder / "data.xyz")])
    assert "hirshfeld charges" in shown.output, shown.output
    made = CliRunner().invoke(app, ["predict", str(model), str(folder / "data.xyz"), str(output)])
    assert made.exit_code == 0, made.output
    atoms: Any = ase.io.read(output, index=2, format="extxyz")
    (expected,) = result.potential.evaluate(water(2), (NAME, "band_gap"))
    np.testing.assert_allclose(atoms.arrays[f"predicted_{NAME}"], expected[NAME], atol=1e-6)
    np.testing.assert_allclose(atoms.info["predicted_band_gap"], expected["band_gap"], atol=1e-6)
    np.testing.assert_allclose(atoms.arrays[f"REF_{NAME}"], water(2).arrays["hirshfeld"], atol=1e-7)


def test_the_calculator_has_it_and_no_rotation_or_inversion_changes_it(potential):
    atoms = water(3)
    calculator = TensorNetCalculator(potential)
    assert NAME in calculator.implemented_properties
    before: dict[str, Any] = {
        name: calculator.get_property(name, atoms) for name in (NAME, "band_gap")
    }
    assert before[NAME].shape == (3,)
    assert check_equivariance(potential, atoms) < 1e-10
    atoms.positions = atoms.positions @ -Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    for name, value in before.items():
        assert np.abs(value).max() > 1e-6
        after: Any = calculator.get_property(name, atoms)
        np.testing.assert_allclose(after, value, rtol=1e-10)


def test_a_mean_does_not_grow_with_the_structure(potential):
    atoms = water(4)
    far = atoms.copy()
    far.positions += [0, 0, 50]
    one, two = potential.evaluate([atoms, atoms + far], (NAME, "band_gap"))
    np.testing.assert_allclose(two["band_gap"], one["band_gap"], rtol=1e-11)
    np.testing.assert_allclose(two[NAME], np.tile(one[NAME], 2), rtol=1e-11)


def test_simulations_record_it_with_its_unit(potential, tmp_path):
    record = Record(properties=(NAME, "band_gap"), interval=2)
    simulation = Simulation(potential, water(5), NVE(), timestep=0.1, record=record)
    with Recorder(simulation, tmp_path / "md", ("extxyz",)) as recorder:
        simulation.run(4, interval=4, observers=[recorder])
    with h5py.File(tmp_path / "md.series.h5") as file:
        group: Any = file["000"]
        charges, gap = group[NAME], group["band_gap"]
        assert (charges.shape, gap.shape) == ((3, 3), (3,))
        assert (charges.attrs["unit"], gap.attrs["unit"]) == ("e", "eV")


def test_files_of_models_and_programs_describe_it(potential, tmp_path):
    save_model(tmp_path / "model.safetensors", potential)
    again = load_model(tmp_path / "model.safetensors")
    assert again.rows[NAME] == potential.rows[NAME] == ROW
    described = describe(potential)["outputs"]
    assert described[NAME]["shape"] == ["atoms"]
    assert (described["band_gap"]["shape"], described["band_gap"]["unit"]) == (["structures"], "eV")
