"""A simulation that explodes stops at its last good step and says what happened."""

import ase
import numpy as np
import pytest

from tensornet_jax.md import NVE, Langevin, Simulation, SimulationError
from tests.md.analytic import analytic, argon, cluster, diatomic


def test_an_atom_that_moves_too_far_is_named_with_step_and_remedy():
    atoms = argon(1, rattle=0.01)
    simulation = Simulation(
        analytic("lennard_jones"),
        [argon(1, rattle=0), atoms],
        NVE(temperature=(2.0, 2.0)),
        timestep=250,
        max_temperature=1e9,
    )
    samples = []
    with pytest.raises(SimulationError, match=r"step \d+: atom \d \(Ar\) of structure [01] moves"):
        simulation.run(1000, interval=2, observers=[samples.append])
    assert np.isfinite(samples[-1].positions).all()
    assert samples[-1].step == simulation.step < 1000
    assert np.isfinite(simulation.atoms[0].get_potential_energy())


def test_a_temperature_above_the_limit_stops_the_run():
    molecule = diatomic()
    molecule.positions[1, 2] = 2.0
    simulation = Simulation(
        analytic("spring"), molecule, NVE(temperature=10), timestep=0.1, max_temperature=1000
    )
    with pytest.raises(SimulationError, match=r"structure 0 has a temperature of .*shorter timest"):
        simulation.run(1000)
    assert 0 < simulation.step < 1000
    assert simulation.sample().temperature[0] < 1000


def test_an_energy_that_is_not_finite_is_refused_at_the_start():
    potential = analytic("lennard_jones").replace(energy_scale=float("nan"))
    simulation = Simulation(potential, cluster(), Langevin(), timestep=1)
    with pytest.raises(SimulationError, match="cannot start: structure 0 has an energy or forces"):
        simulation.run(10)


def test_atoms_are_needed():
    with pytest.raises(ValueError, match="needs atoms"):
        Simulation(analytic("spring"), ase.Atoms(), NVE(), timestep=1)
