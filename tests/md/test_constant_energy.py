"""Velocity Verlet: order, reversibility, conservation, fixed atoms."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms, FixBondLength
from ase.md.verlet import VelocityVerlet

from tensornet_jax.md import NVE, Simulation
from tests.builders import ethanol
from tests.md.analytic import Reference, analytic, argon, cluster, diatomic, network
from tests.tolerances import MD_REVERSIBLE, MD_SAME_PATH


def energies(potential, atoms, timestep, steps, every, **options):
    samples = []
    simulation = Simulation(potential, atoms, NVE(temperature=40), timestep=timestep, **options)
    simulation.run(steps, interval=every, observers=[samples.append])
    return np.array([sample.conserved[0] for sample in samples])


def test_fluctuation_of_the_energy_is_second_order_in_the_timestep():
    potential = analytic("lennard_jones")
    coarse, fine = (
        np.std(energies(potential, cluster(), 10 / halving, 1000 * halving, 2 * halving))
        for halving in (1, 2)
    )
    assert coarse / fine == pytest.approx(4, abs=0.5)


def test_a_thousand_steps_forth_and_back_end_where_they_began():
    potential = analytic("lennard_jones")
    start = argon(2)
    simulation = Simulation(potential, start, NVE(temperature=40), timestep=5)
    (there,) = simulation.run(1000)
    moved = there.positions - start.positions
    assert np.linalg.norm(moved - moved.mean(axis=0), axis=1).max() > 0.5
    assert simulation.num_rebuilds > 1
    simulation.engine.set_velocities(-there.get_velocities())
    (back,) = simulation.run(1000)
    np.testing.assert_allclose(back.positions, start.positions, rtol=0, atol=MD_REVERSIBLE)


def test_the_path_is_that_of_ase_with_a_new_list_every_step():
    potential = analytic("lennard_jones")
    start = argon(2)
    simulation = Simulation(potential, start, NVE(temperature=80), timestep=5)
    ours = simulation.atoms[0]
    ours.calc = Reference(potential)
    VelocityVerlet(ours, 5 * units.fs).run(200)
    (final,) = simulation.run(200)
    assert simulation.num_rebuilds > 1
    np.testing.assert_allclose(final.positions, ours.positions, rtol=0, atol=MD_SAME_PATH)
    assert final.get_potential_energy() == pytest.approx(ours.get_potential_energy(), abs=1e-9)


def test_a_network_conserves_energy_and_momentum():
    potential = network()
    samples = []
    simulation = Simulation(potential, ethanol(), NVE(), timestep=0.25)
    simulation.run(200, interval=20, observers=[samples.append])
    total = np.array([sample.conserved[0] for sample in samples])
    kinetic = np.array([sample.kinetic_energy[0] for sample in samples])
    assert np.ptp(total) < 0.01 * np.ptp(kinetic)
    momentum = samples[-1].atoms().get_momenta().sum(axis=0)
    assert np.abs(momentum).max() < 1e-10
    assert potential.evaluate(samples[-1].atoms())[0]["energy"] == pytest.approx(
        samples[-1].potential_energy[0], abs=1e-9
    )


def test_a_thousand_steps_compile_once():
    # A cutoff of its own: a loop that another test has compiled would serve as well.
    potential = analytic("lennard_jones", cutoff=6.875)
    simulation = Simulation(potential, argon(2), NVE(temperature=60), timestep=5)
    for _ in range(10):
        simulation.run(100, interval=25)
    assert simulation.step == 1000
    assert simulation.num_compiles == 1
    assert simulation.num_rebuilds > 1


def test_fixed_atoms_stay_and_the_others_move():
    atoms = argon(2)
    atoms.set_constraint(FixAtoms([0, 5]))
    simulation = Simulation(analytic("lennard_jones"), atoms, NVE(temperature=60), timestep=5)
    assert simulation.sample().temperature[0] == pytest.approx(60, abs=30)
    (final,) = simulation.run(200)
    moved = np.linalg.norm(final.positions - atoms.positions, axis=1)
    np.testing.assert_allclose(moved[[0, 5]], 0, atol=1e-12)
    assert np.delete(moved, [0, 5]).min() > 0.01
    assert final.constraints
    np.testing.assert_array_equal(
        jnp.asarray(simulation.engine.system.degrees_of_freedom), [3 * 30]
    )


def test_other_constraints_are_refused_by_name():
    atoms = argon(1)
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ValueError, match=r"no constraint FixBondLengths? .*: use engine: ase"):
        Simulation(analytic("lennard_jones"), atoms, NVE(), timestep=5)


def test_velocities_to_keep_must_be_there():
    with pytest.raises(ValueError, match="no velocities"):
        Simulation(analytic("spring"), diatomic(), NVE(), timestep=0.5, velocities="keep")


def test_an_oscillator_has_its_frequency():
    potential = analytic("spring")
    atoms = diatomic()
    atoms.positions[1, 2] += 0.05
    atoms.set_velocities([[0, 0, 1e-9], [0, 0, -1e-9]])
    reduced = atoms.get_masses()[0] / 2
    period = 2 * np.pi * np.sqrt(reduced / 5.0) / units.fs
    steps = 400
    simulation = Simulation(
        potential, atoms, NVE(), timestep=period / steps, velocities="keep", replicas=[0]
    )
    (quarter,) = simulation.run(steps // 4)
    assert quarter.get_distance(0, 1) == pytest.approx(1.2, abs=1e-4)
    (full,) = simulation.run(3 * steps // 4)
    assert full.get_distance(0, 1) == pytest.approx(1.25, abs=1e-5)


def test_equal_simulations_share_one_compiled_loop():
    potential = analytic("lennard_jones", cutoff=6.8125)
    first, second = (
        Simulation(potential, cluster(seed), NVE(temperature=40), timestep=5) for seed in (0, 1)
    )
    for simulation in (first, second):
        simulation.run(10)
    assert (first.num_compiles, second.num_compiles) == (1, 0)
