"""Settings of `tensornet-jax md` that cannot be, and those that can."""

from pathlib import Path

import ase.build
import ase.io
import pytest

from tensornet_jax.config import load_config
from tensornet_jax.md.config import MDConfig

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("restart_every=30", "must be a multiple of interval"),
        ("ensemble.name=nvt", "unknown ensemble 'nvt'; did you mean 'nve'? Known: nve, langevin"),
        ("ensemble.temperature=-3", "must be greater than 0"),
        ("ensemble.temperature=[1, 2, 3]", "3 numbers for 1 replicas"),
        ("formats=[traj, traj]", "name one format twice"),
        ("engine=asse", "unknown engine 'asse'; did you mean 'ase'?"),
        ("timestp=1", "did you mean 'timestep'"),
    ],
)
def test_mistaken_settings_are_explained(md, molecules, setting, problem):
    result = md(molecules, setting)
    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize(
    "settings",
    [
        ["replicas=2"],
        ["ensemble={name: csvr}"],
        ["ensemble={name: npt}"],
    ],
)
def test_what_ase_cannot_do_is_refused(md, molecules, settings):
    result = md(molecules, "engine=ase", *settings)
    assert result.exit_code == 2
    assert "engine: device" in result.stderr


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("md_*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_understood(path):
    load_config(path, MDConfig)


def test_the_template_of_dynamics_validates(cli, tmp_path):
    assert cli("config", "template", "--md", "-o", "md.yaml").exit_code == 0
    text = (tmp_path / "md.yaml").read_text(encoding="utf-8")
    assert "# or ensemble: {name: npt" in text
    for name in ("runs/example/model.safetensors", "start.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    result = cli("config", "validate", "md.yaml", "--md")
    assert result.exit_code == 0, result.stderr
    assert "MDConfig" in cli("config", "schema", "--md").stdout


def test_md_index_outside_is_named(md, molecules):
    assert "has 2 structures" in md(molecules, index=7).stderr


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_an_unusable_structure_is_named_with_its_file(md, engine):
    water, alien = ase.build.molecule("H2O"), ase.build.molecule("PH3")
    ase.io.write("mixed.xyz", [water, alien], format="extxyz")
    result = md("mixed.xyz", index=1, engine=engine)
    assert result.exit_code == 2
    assert "mixed.xyz, structure 1: " in result.stderr
    assert "P" in result.stderr
    assert not Path("md.csv").exists()
