"""One calculator for all tests of a module: compiling dominates them."""

from collections.abc import Iterator

import numpy as np
import pytest
from ase.build import bulk

import tensornet_jax.graph.capacity_ladder as ladder_module
from tensornet_jax.calculator import Calculator
from tensornet_jax.potential.potential import Potential
from tests.calculator.crystals import make_potential, rattled


@pytest.fixture(scope="module")
def potential() -> Potential:
    return make_potential()


@pytest.fixture(scope="module")
def compiled(potential) -> Iterator[Calculator]:
    """One calculator whose arrays hold every structure below: compiling dominates these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder_module, "LARGEST_WASTE", np.inf)
        calc = Calculator(potential)
        crowded = rattled(bulk("Si", cubic=True), 5)
        crowded.set_cell(crowded.cell.array * 0.6, scale_atoms=True)
        calc.calculate(crowded)
        yield calc


@pytest.fixture
def calc(compiled) -> Iterator[Calculator]:
    compiled.reset()
    compiled._evaluator.neighborhood = None
    compiled._evaluator.num_rebuilds = 0
    yield compiled
    # With stress and without.
    assert compiled.num_compiles <= 2
