"""A tiny untrained model and a few structures for the commands."""

import csv
import os
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from tensornet_jax.cli import app
from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, create_potential


@pytest.fixture(autouse=True)
def _no_cache_in_the_home_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "tensornet_jax.runtime.compilation_cache.enable_compilation_cache", lambda: None
    )


@pytest.fixture
def cli(monkeypatch, tmp_path):
    """Return a function that runs `tensornet-jax` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    # rich would fold and color the output to fit a terminal.
    monkeypatch.setitem(os.environ, "COLUMNS", "200")

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Return the path of a float64 model file that knows H, C and O."""
    config = MODELS["tensornet"][0].model_validate(
        {"num_channels": 8, "num_layers": 0, "num_radial": 4, "cutoff": 3.0}
    )
    elements = ElementTable((1, 6, 8), np.array([-13.6, -1029.0, -2041.0]))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, create_potential(config, elements, seed=0, dtype="float64"))
    return path


@pytest.fixture
def emt(monkeypatch):
    """Put ASE's EMT in place of the network: it has minima, and nothing to compile."""

    class Emt(EMT):
        def __init__(self, potential, **_):
            super().__init__()

    monkeypatch.setattr("tensornet_jax.calculator.TensorNetCalculator", Emt)


@pytest.fixture
def frames_of():
    """Return a function that reads all structures of a file."""

    def read(path) -> list[ase.Atoms]:
        frames = ase.io.read(path, ":")
        assert isinstance(frames, list)
        return frames

    return read


@pytest.fixture
def molecules(tmp_path):
    """Return the path of two labelled molecules of different groups."""
    frames = []
    for name, config_type in (("H2O", "water"), ("CH4", "methane")):
        atoms = ase.build.molecule(name)
        atoms.rattle(0.05, seed=1)
        atoms.info.update(REF_energy=-100.0, config_type=config_type)
        atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 0.1)
        frames.append(atoms)
    path = tmp_path / "molecules.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


@pytest.fixture
def crystal(tmp_path):
    """Return the path of a strained carbon crystal without labels."""
    atoms = ase.build.bulk("C", "diamond", a=3.7, cubic=True)
    atoms.rattle(0.02, seed=1)
    path = tmp_path / "crystal.xyz"
    ase.io.write(path, atoms, format="extxyz")
    return path


@pytest.fixture
def md(cli, model, tmp_path):
    """Return a function that runs `tensornet-jax md` with settings instead of a file."""

    def run(structure, *settings, output="md", **values):
        config = tmp_path / "md.yaml"
        config.write_text(
            f"model: {model}\nstructure: {structure}\noutput: {output}\nensemble: {{name: nve}}\n",
            encoding="utf-8",
        )
        settings = [*settings, *(f"{key}={value}" for key, value in values.items())]
        return cli("md", config, *(part for each in settings for part in ("--set", each)))

    return run


@pytest.fixture
def log_of():
    """Return a function that reads the columns of a log."""

    def read(path):
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}

    return read
