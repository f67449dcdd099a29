"""The configurations shipped in configs/ are what the code understands."""

from pathlib import Path

import pytest

from tensornet_jax.config import load_config
from tensornet_jax.train.config import RunConfig

ROOT = Path(__file__).resolve().parents[1]
# Those of dynamics are checked with the command that reads them.
CONFIGS = sorted(
    path for path in (ROOT / "configs").glob("*.yaml") if not path.name.startswith("md_")
)
SHARED = "../shared/data/"


def test_the_promised_configs_are_there():
    names = {path.stem for path in CONFIGS}
    assert names >= {"3bpa", "acac", "rmd17_aspirin", "rmd17_ethanol", "mlearn_si", "quickstart"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_validates_and_has_its_own_run_directory(path):
    config = load_config(path, RunConfig)
    assert config.directory == f"runs/{path.stem}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_data_file_named_from_the_repository_root_is_there(path, shared_data):
    for name in load_config(path, RunConfig).data.files():
        if name.startswith(SHARED):
            shared_data(name.removeprefix(SHARED))
        else:
            assert (ROOT / name).is_file(), name


def test_periodic_config_has_stress_in_the_loss():
    config = load_config(ROOT / "configs" / "mlearn_si.yaml", RunConfig)
    assert config.loss.stress is not None
    assert config.loss.stress.weight > 0


def test_held_out_test_structures_come_out_of_the_training_file():
    config = load_config(ROOT / "configs" / "3bpa.yaml", RunConfig)
    assert config.data.held_out() == {"validation": 25, "held_out": 50}
