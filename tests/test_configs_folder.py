"""The configurations shipped in configs/ are what the code understands."""

from pathlib import Path, PurePath
from typing import Any

import ase.build
import ase.db
import ase.io
import ase.units
import numpy as np
import pytest

from tensornet_jax.config import load_config
from tensornet_jax.data.published.datasets import how_to_fetch
from tensornet_jax.data.readers import read_structures
from tensornet_jax.md.config import MDConfig
from tensornet_jax.train.config.run import RunConfig, with_tensor_labels

ROOT = Path(__file__).resolve().parents[1]
# Those of dynamics are checked with the command that reads them.
EVERY_CONFIG = sorted((ROOT / "configs").glob("*.yaml"))
CONFIGS = [path for path in EVERY_CONFIG if not path.name.startswith("md_")]


def test_the_promised_configs_are_there():
    names = {path.stem for path in CONFIGS}
    assert names >= {"3bpa", "acac", "rmd17_aspirin", "rmd17_ethanol", "mlearn_si", "quickstart"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_validates_and_has_its_own_run_directory(path):
    config = load_config(path, RunConfig)
    assert config.directory == f"runs/{path.stem}"


def data_files(path: Path) -> tuple[str, ...]:
    """The files of structures that a configuration of training or dynamics names."""
    if path.name.startswith("md_"):
        return (load_config(path, MDConfig).structure,)
    return load_config(path, RunConfig).data.files()


@pytest.mark.parametrize("path", EVERY_CONFIG, ids=lambda path: path.stem)
def test_data_files_come_with_the_package_or_are_fetched_by_the_command_at_the_head(path):
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    for name in data_files(path):
        if not (ROOT / name).is_file():
            command = how_to_fetch(PurePath(name))
            assert command is not None, name
            assert f"# Data: {command}\n" in head


def test_labels_of_the_charged_and_spin_data_are_read_from_schnetpacks_databases(tmp_path):
    """They are arrays in `row.data`, the charge and the spin too."""
    path = tmp_path / "schnetpack.db"
    connection: Any = ase.db.connect(path)
    with connection as database:
        for value in (0, 2):
            database.write(
                ase.Atoms("CH2", np.eye(3)),
                data={
                    "energy": np.array([-13.0]),
                    "forces": np.full((3, 3), 0.1),
                    "total_charge": np.array([value / 2]),
                    "spin_multiplicity": np.array([value]),
                },
            )
    for name, key, expected in (
        ("charged_ag3", "charge", [0, 1]),
        ("spin_carbene", "spin", [1, 3]),
    ):
        labels = load_config(ROOT / "configs" / f"{name}.yaml", RunConfig).data.labels
        structures = read_structures(path, labels)
        assert [atoms.info[key] for atoms in structures] == expected
        assert structures[0].info["REF_energy"] == -13.0
        assert structures[0].arrays["REF_forces"].shape == (3, 3)


def test_labels_of_the_water_dimers_are_in_atomic_units(tmp_path):
    atoms = ase.build.molecule("H2O")
    atoms.info |= {"mu": np.array([0, 0, 1.0]), "alpha": 10 * np.eye(3).ravel()}
    ase.io.write(tmp_path / "water.xyz", atoms, format="extxyz")
    config: Any = load_config(ROOT / "configs" / "water_response.yaml", RunConfig)
    labels = with_tensor_labels(config.data.labels, config.model.tensors)
    (read,) = read_structures(tmp_path / "water.xyz", labels)
    np.testing.assert_allclose(read.info["REF_dipole"], [0, 0, ase.units.Bohr])
    np.testing.assert_allclose(
        read.info["REF_polarizability"], 10 * ase.units.Bohr**3 * np.eye(3).ravel(), rtol=1e-7
    )


def test_periodic_config_has_stress_in_the_loss():
    config = load_config(ROOT / "configs" / "mlearn_si.yaml", RunConfig)
    assert config.loss.stress is not None
    assert config.loss.stress.weight > 0


def test_held_out_test_structures_come_out_of_the_training_file():
    config = load_config(ROOT / "configs" / "3bpa.yaml", RunConfig)
    assert config.data.held_out() == {"validation": 25, "held_out": 50}
