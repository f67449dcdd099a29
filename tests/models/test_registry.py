"""A model from outside the package is one like those inside it."""

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from tensornet_jax.config import parse_config
from tensornet_jax.models import MODELS
from tensornet_jax.models.base import Model
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.testing import check_equivariance, check_forces, check_smooth_at_cutoff
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.run import train
from tests.builders import ethanol
from tests.docs.pages import ROOT, blocks_of
from tests.train.small import clusters


@pytest.fixture
def pairs(monkeypatch) -> type[ModelConfig]:
    """Run the file that docs/add_a_model.md shows, and return the config of its model."""
    (block,) = (
        block
        for block in blocks_of(ROOT / "docs" / "add_a_model.md")
        if block.language == "python" and "class Pairs(" in block.text
    )
    # So that it is not there any more for other tests.
    monkeypatch.setitem(MODELS, "pairs", MODELS["tensornet"])
    names: dict[str, Any] = {"__name__": "pairs"}
    exec(compile(block.text, "docs/add_a_model.md", "exec"), names)
    return names["PairsConfig"]


def test_the_model_of_the_developers_page_obeys_the_laws(pairs):
    elements = ElementTable((1, 6, 8), np.zeros(3))
    potential = create_potential(pairs(cutoff=3.0), elements, seed=0, dtype="float64")
    assert check_forces(potential, ethanol()) < 1e-6
    check_equivariance(potential, ethanol())
    check_smooth_at_cutoff(potential, ethanol())


def test_it_is_trained_saved_and_evaluated_like_any_other(pairs, tmp_path: Path):
    ase.io.write(tmp_path / "clusters.xyz", clusters(12), format="extxyz")
    run = parse_config(
        f"""
directory: {tmp_path / "run"}
dtype: float64
data: {{train: {tmp_path / "clusters.xyz"}, validation: 3}}
model: {{name: pairs, cutoff: 3.0, width: 4}}
training: {{epochs: 2, batch_size: 3}}
""",
        RunConfig,
    )
    result = train(run)
    loaded = load_model(tmp_path / "run" / "model.safetensors", dtype="float64")
    assert loaded.config == pairs(cutoff=3.0, width=4)
    (atoms,) = clusters(1, seed=1)
    (one,), (two,) = (p.evaluate(atoms) for p in (result.potential, loaded))
    np.testing.assert_array_equal(one["forces"], two["forces"])
    assert np.abs(one["forces"]).max() > 0


@pytest.mark.parametrize("name", ["tensornet", "tensornet2", "mace", "escn"])
def test_models_of_the_package_are_built_from_their_configuration(name):
    config, network = MODELS[name]
    module = network(config(), (1, 8), "float64")
    assert isinstance(module, Model)
    assert config().name == name
    assert (module.config, module.numbers, module.dtype) == (config(), (1, 8), "float64")
    assert config().compressible == (type(module).radial_functions is not Model.radial_functions)
