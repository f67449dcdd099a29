"""What the documentation tells people to write works."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from tensornet_jax.config import parse_config
from tensornet_jax.models import MODELS
from tensornet_jax.potential import ElementTable, create_potential
from tensornet_jax.testing import check_equivariance, check_forces, check_smooth_at_cutoff
from tensornet_jax.train.config import RunConfig
from tests.builders import ethanol

DOCS = Path(__file__).parents[1] / "docs"


def python_blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def yaml_blocks(page: Path) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_model_of_the_developers_page_is_a_potential(monkeypatch):
    (source,) = (block for block in python_blocks("models.md") if "class Pairs(" in block)
    names: dict[str, Any] = {"__name__": "pairs"}
    exec(compile(source, "docs/models.md", "exec"), names)
    monkeypatch.setitem(MODELS, "pairs", (names["PairsConfig"], names["Pairs"]))
    elements = ElementTable((1, 6, 8), np.zeros(3))
    config = names["PairsConfig"](cutoff=3.0)
    potential = create_potential(config, elements, seed=0, dtype="float64")
    check_forces(potential, ethanol())
    check_equivariance(potential, ethanol())
    check_smooth_at_cutoff(potential, ethanol())


def test_the_training_files_of_the_readme_and_of_the_training_page_validate():
    pages = (DOCS.parent / "README.md", DOCS / "training.md")
    blocks = [block for page in pages for block in yaml_blocks(page)]
    runs = [block for block in blocks if "\ndata:" in f"\n{block}" and "directory:" in block]
    assert len(runs) >= 2
    for block in runs:
        config = parse_config(block, RunConfig)
        assert config.data.files()
    # The others are pieces of a data section.
    for block in blocks:
        if block not in runs and block.startswith("data:"):
            parse_config(f"directory: runs/it\n{block}", RunConfig)
