"""Charge and spin on the command line: from files, from options, or refused."""

import ase.build
import ase.io
import numpy as np
import pytest

from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.potential.trained_on import TrainedOn, with_record


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


@pytest.fixture
def neutral(seeing, tmp_path):
    """Return the path of the same model, trained on neutral singlets of H and C."""
    potential = load_model(seeing)
    methane = ase.build.molecule("CH4")
    methane.info["spin"] = 1
    record = with_record(potential.metadata, TrainedOn.of([methane]))
    path = tmp_path / "neutral.safetensors"
    save_model(path, potential.replace(metadata=record))
    return path


def test_commands_say_once_that_a_state_is_outside_the_training(cli, neutral, cation, tmp_path):
    assert cation.info["charge"] == 1
    (tmp_path / "md.yaml").write_text(
        f"model: {neutral}\nstructure: telling.xyz\noutput: run\nsteps: 1\ninterval: 1\n"
        "plot: false\n",
        encoding="utf-8",
    )
    for command in (
        ("predict", neutral, "telling.xyz", "out.xyz"),
        ("relax", neutral, "telling.xyz", "relaxed.xyz", "--fmax", 100),
        ("md", "md.yaml"),
    ):
        result = cli(*command)
        assert result.exit_code == 0, result.stderr
        lines = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
        assert len(lines) == 2, result.stderr
        assert lines[0].startswith("warning: total charge 1: the model was trained on 0 alone")
        assert lines[1].startswith("warning: spin multiplicity 3: the model was trained on 1 alone")


def test_inspect_shows_what_a_model_was_trained_on(cli, neutral, seeing):
    lines = cli("inspect", neutral).stdout.splitlines()
    start = lines.index("trained on")
    assert [line.strip() for line in lines[start + 1 : start + 5]] == [
        "structures: 1",
        "total charges: 0",
        "spin multiplicities: 1",
        "structures with: C 1, H 1",
    ]
    assert "the file does not say" in cli("inspect", seeing).stdout


def test_an_option_overrules_a_file_whatever_the_key(cli, seeing, cation, frames_of):
    result = cli("predict", seeing, "telling.xyz", "out.xyz", "--charge", -1, "--spin", 1)
    assert result.exit_code == 0, result.stderr
    cation.info = {"charge": -1, "spin": 1}
    (expected,) = load_model(seeing).evaluate(cation)
    (found,) = frames_of("out.xyz")
    assert found.info["predicted_energy"] == pytest.approx(expected["energy"], abs=1e-8)


def test_initial_charges_of_an_ion_in_a_file_are_told(cli, seeing, cation):
    cation.info = {"spin": 3}
    cation.set_initial_charges([1.0, 0, 0, 0])
    ase.io.write("ion.xyz", cation, format="extxyz")
    result = cli("predict", seeing, "ion.xyz", "out.xyz")
    assert "warning: initial_charges sum to +1" in result.stderr
    assert "ion.xyz:0" in result.stderr


@pytest.mark.parametrize(("command", "options"), [("predict", ()), ("relax", ("--fmax", 100))])
def test_nothing_is_said_of_initial_charges_where_the_charge_is_given(
    cli, seeing, cation, command, options
):
    cation.info = {"spin": 3}
    cation.set_initial_charges([1.0, 0, 0, 0])
    ase.io.write("ion.xyz", cation, format="extxyz")
    result = cli(command, seeing, "ion.xyz", "out.xyz", "--charge", 1, *options)
    assert result.exit_code == 0, result.stderr
    assert "sum to" not in result.stderr
