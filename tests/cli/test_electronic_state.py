"""Charge and spin on the command line: from files, from options, or refused."""

import ase.build
import ase.io
import numpy as np
import pytest

from tensornet_jax.model_file import load_model, save_model
from tensornet_jax.models import MODELS
from tensornet_jax.potential import ElementTable, create_potential


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """Return the path of a model of H and C that depends on charge and spin."""
    settings = {"num_channels": 4, "num_layers": 0, "num_radial": 4, "cutoff": 3.0}
    config = MODELS["tensornet"][0].model_validate(
        settings | {"electronic_state": ["charge", "spin"]}
    )
    path = tmp_path_factory.mktemp("seeing") / "model.safetensors"
    elements = ElementTable((1, 6), np.zeros(2))
    save_model(path, create_potential(config, elements, seed=0, dtype="float64"))
    return path


@pytest.fixture
def cation(tmp_path):
    """Return a structure in two files: one says its state, the other does not."""
    atoms = ase.build.molecule("CH3")
    ase.io.write(tmp_path / "silent.xyz", atoms, format="extxyz")
    atoms.info.update(total_charge=1, spin_multiplicity=3)
    ase.io.write(tmp_path / "telling.xyz", atoms, format="extxyz")
    atoms.info = {"charge": 1, "spin": 3}
    return atoms


def test_predict_takes_the_state_from_the_file_or_the_options(cli, seeing, cation, frames_of):
    (expected,) = load_model(seeing).evaluate(cation)
    options = ("--charge", 1, "--spin", 3)
    for name, given in (("telling.xyz", ()), ("silent.xyz", options)):
        result = cli("predict", seeing, name, f"predicted_{name}", *given)
        assert result.exit_code == 0, result.stderr
        (found,) = frames_of(f"predicted_{name}")
        assert found.info["predicted_energy"] == pytest.approx(expected["energy"], abs=1e-8)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "this potential depends on the spin"),
        (("--spin", 3), "which cannot have the multiplicity 3"),
    ],
)
def test_a_state_that_is_missing_or_impossible_is_told(cli, seeing, cation, options, told):
    result = cli("predict", seeing, "silent.xyz", "out.xyz", *options)
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("option", ["--charge", "--spin"])
def test_a_state_that_the_model_cannot_see_is_told(cli, model, cation, option):
    result = cli("relax", model, "silent.xyz", "out.xyz", option, 1)
    assert result.exit_code == 2
    assert f"depends on the {option[2:]}" in result.stderr


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_dynamics_run_in_the_state_that_the_configuration_says(
    cli, seeing, cation, tmp_path, frames_of, engine
):
    (tmp_path / "md.yaml").write_text(
        f"model: {seeing}\nstructure: silent.xyz\noutput: run\ncharge: 1\nspin: 3\n"
        f"steps: 1\ninterval: 1\nplot: false\nengine: {engine}\n",
        encoding="utf-8",
    )
    result = cli("md", "md.yaml")
    assert result.exit_code == 0, result.stderr
    start, end = frames_of("run.xyz")
    (expected,) = load_model(seeing).evaluate(cation)
    assert start.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-6)
    assert (end.info["charge"], end.info["spin"]) == (1, 3)
