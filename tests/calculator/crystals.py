"""A small potential and crystals of every kind for the tests of the calculator."""

import ase
import numpy as np

from tensornet_jax.calculator import Calculator
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential

CUTOFF = 3.2
ELEMENTS = ElementTable((1, 6, 8, 14), np.array([-13.6, -1029.0, -2041.5, -7870.25]))


def make_potential(dtype: str = "float64", **changes) -> Potential:
    fields = {"num_channels": 4, "num_layers": 1, "num_radial": 4, "cutoff": CUTOFF}
    config = TensorNetConfig.model_validate(fields | changes)
    return create_potential(config, ELEMENTS, seed=1, dtype=dtype, energy_scale=5.0)


def rattled(atoms: ase.Atoms, seed: int = 0) -> ase.Atoms:
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(0, 0.12, atoms.positions.shape)
    return atoms


def in_cell(cell, pbc, symbols="SiOCH", seed: int = 0) -> ase.Atoms:
    rng = np.random.default_rng(seed)
    grid = np.array([[0.1, 0.1, 0.1], [0.6, 0.55, 0.1], [0.55, 0.1, 0.6], [0.1, 0.6, 0.55]])
    scaled = grid[: len(ase.Atoms(symbols))] + rng.uniform(
        -0.04, 0.04, (len(ase.Atoms(symbols)), 3)
    )
    return ase.Atoms(symbols, scaled_positions=scaled, cell=cell, pbc=pbc)


def num_edges(calc: Calculator) -> int:
    assert calc._evaluator.neighborhood is not None
    return int(np.sum(calc._evaluator.neighborhood.graph.edges.mask))


SKEWED = np.array([[3.4, 0, 0], [1.6, 3.3, 0], [-1.1, 1.4, 3.5]])
CRYSTALS = {
    "bulk": in_cell(np.eye(3) * 3.5, True),
    "skewed": in_cell(SKEWED, True),
    "left_handed": in_cell(SKEWED[[1, 0, 2]], True),
    "smaller_than_cutoff": in_cell(np.eye(3) * 2.4 + 0.1, True, "SiO"),
    "slab": in_cell(SKEWED, (True, True, False)),
    "wire": in_cell(np.diag([9.0, 9.0, 3.3]) * [0.5, 0.5, 1], (False, False, True)),
    "unwrapped": in_cell(SKEWED, True),
}
CRYSTALS["unwrapped"].positions += [[2, 0, -1], [0, 0, 0], [-3, 1, 0], [0, 5, 0]] @ SKEWED
