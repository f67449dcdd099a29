"""Simulations of argon whose paths are compared."""

import numpy as np

from tensornet_jax.md import Simulation
from tests.md.analytic import analytic
from tests.tolerances import MD_SAME_PATH


def final_of(atoms, ensemble, timestep, steps, skin, potential=None, **options):
    potential = potential or analytic("lennard_jones", cutoff=5.0)
    simulation = Simulation(potential, atoms, ensemble, timestep=timestep, skin=skin, **options)
    return simulation, simulation.run(steps)


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.positions, theirs.positions, rtol=0, atol=MD_SAME_PATH)
        np.testing.assert_allclose(ours.cell.array, theirs.cell.array, rtol=0, atol=MD_SAME_PATH)
