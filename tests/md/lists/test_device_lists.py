"""The list of a large structure, made within the loop: the path is that with lists of the host."""

import numpy as np
import pytest
from ase import units
from ase.build import fcc111

from tensornet_jax.md import NPT, NVE, Langevin, Simulation
from tensornet_jax.md.restart import load_restart, save_restart
from tests.md.analytic import analytic, argon
from tests.md.lists.runs import assert_same, final_of


@pytest.mark.parametrize(
    "ensemble",
    [
        Langevin(temperature=150),
        pytest.param(
            NPT(
                temperature=60,
                pressure=1.0,
                shape="full",
                pressure_time=300.0,
                compressibility=0.4,
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["langevin", "npt"],
)
def test_lists_made_within_the_loop_change_nothing(on_device, ensemble):
    atoms = argon(3)
    on_device(False)
    host, expected = final_of(atoms, ensemble, 5.0, 120, 0.5)
    on_device(True)
    ours, found = final_of(atoms, ensemble, 5.0, 120, 0.5)
    assert ours.engine.lists.on_device
    assert ours.num_rebuilds > 3
    assert ours.engine.lists.num_rebuilds < host.num_rebuilds
    assert_same(found, expected)


@pytest.mark.slow
def test_lists_made_within_the_loop_outgrow_their_arrays_and_change_nothing(on_device):
    atoms = argon(3, a=6.2)
    ensemble = NPT(temperature=30, pressure=3.0, pressure_time=300.0, compressibility=0.5)
    on_device(False)
    _, expected = final_of(atoms, ensemble, 5.0, 150, 0.5)
    on_device(True)
    ours, found = final_of(atoms, ensemble, 5.0, 150, 0.5)
    assert found[0].cell.volume < 0.8 * atoms.cell.volume
    assert ours.engine.lists.num_grown > 0
    assert_same(found, expected)


@pytest.mark.slow
def test_a_slab_with_lists_made_within_the_loop(on_device):
    slab = fcc111("Ar", (3, 3, 3), a=5.3, vacuum=6.0)
    slab.pbc = (True, True, False)
    slab.rattle(0.1, seed=1)
    on_device(False)
    _, expected = final_of(slab, NVE(temperature=150), 5.0, 100, 0.4)
    on_device(True)
    ours, found = final_of(slab, NVE(temperature=150), 5.0, 100, 0.4)
    assert ours.num_rebuilds > 3
    assert_same(found, expected)


def test_an_atom_that_wanders_off_is_taken_home_by_the_host(on_device):
    on_device(True)
    atoms = argon(2, rattle=0.0)[:3]
    atoms.set_velocities([[1.0, 0.3, 0.0]] + [[0.0, 0.0, 0.0]] * 2)
    potential = analytic("lennard_jones", cutoff=2.0, dtype="float32")
    options = {"velocities": "keep", "max_displacement": 2.0}
    simulation, (final,) = final_of(atoms, NVE(), 10.0, 600, 1.0, potential, **options)
    path = atoms.positions[0] + 600 * 10 * units.fs * np.array([1.0, 0.3, 0.0])
    np.testing.assert_allclose(final.positions[0], path, rtol=0, atol=0.05)
    assert np.abs(np.asarray(simulation.engine.state.positions)).max() < 40


@pytest.mark.slow
def test_a_run_with_lists_made_within_the_loop_restarts_bitwise(on_device, tmp_path):
    on_device(True)

    def run(steps, restart=None):
        potential = analytic("lennard_jones", cutoff=5.0)
        simulation = Simulation(potential, argon(3), Langevin(temperature=150), timestep=5)
        if restart is not None:
            load_restart(restart, simulation)
        simulation.run(steps)
        return simulation

    whole, first = run(120), run(60)
    save_restart(tmp_path / "run.restart", first)
    second = run(60, tmp_path / "run.restart")
    assert whole.num_rebuilds > 3
    np.testing.assert_array_equal(whole.sample().positions, second.sample().positions)
    np.testing.assert_array_equal(whole.sample().velocities, second.sample().velocities)
