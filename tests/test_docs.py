"""What the documentation tells people to write works."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from tensornet_jax.models import MODELS
from tensornet_jax.potential import ElementTable, create_potential
from tensornet_jax.testing import check_equivariance, check_forces, check_smooth_at_cutoff
from tests.builders import ethanol

DOCS = Path(__file__).parents[1] / "docs"


def python_blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


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
