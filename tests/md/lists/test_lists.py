"""Neighbor lists that run out, and lists that outgrow their arrays: the path stays the same."""

import dataclasses

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111

import tensornet_jax.md.lists.host_lists as host_lists
from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.md import NPT, NVE, Langevin, Simulation
from tensornet_jax.md.lists.device_lists import DeviceListBuilder
from tensornet_jax.md.restart import load_restart, save_restart
from tests.builders import ethanol
from tests.md.analytic import analytic, argon, cluster, network
from tests.tolerances import MD_SAME_PATH


def final_of(atoms, ensemble, timestep, steps, skin, potential=None, **options):
    potential = potential or analytic("lennard_jones", cutoff=5.0)
    simulation = Simulation(potential, atoms, ensemble, timestep=timestep, skin=skin, **options)
    return simulation, simulation.run(steps)


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.positions, theirs.positions, rtol=0, atol=MD_SAME_PATH)
        np.testing.assert_allclose(ours.cell.array, theirs.cell.array, rtol=0, atol=MD_SAME_PATH)


def test_an_atom_fast_enough_to_leave_the_skin_within_a_chunk_changes_nothing():
    atoms = argon(2)
    atoms.set_velocities(np.zeros((32, 3)))
    velocities = atoms.get_velocities()
    # 0.05 Å/fs: it crosses the skin of 0.4 Å in a few steps, and hits its neighbors.
    velocities[3] = [0.5, 0.05, 0.02]
    atoms.set_velocities(velocities)
    ensemble = NVE()
    options = {"velocities": "keep", "max_displacement": 1.0}
    every_step, expected = final_of(atoms, ensemble, 1.0, 150, 0.0, **options)
    ours, found = final_of(atoms, ensemble, 1.0, 150, 0.4, **options)
    assert every_step.num_rebuilds > 150
    assert 5 < ours.num_rebuilds < 50
    assert_same(found, expected)


@pytest.mark.slow
def test_a_list_that_reaches_beyond_the_cutoff_is_renewed_in_time_too():
    """Charges see each other twice as far as the network's list goes, in and out of a molecule."""
    crystal, molecule = argon(2), cluster()
    for atoms in (crystal, molecule):
        atoms.set_initial_charges(0.2 * (-1.0) ** np.arange(len(atoms)))
    for atoms, cutoff in ((crystal, 8.0), (molecule, None)):
        prior = {"name": "coulomb", "cutoff": cutoff}
        potential = analytic("lennard_jones", cutoff=4.0, priors=[prior])
        ensemble = Langevin(temperature=100, friction=0.01)
        every_step, expected = final_of(atoms, ensemble, 5.0, 60, 0.0, potential)
        ours, found = final_of(atoms, ensemble, 5.0, 60, 0.5, potential)
        assert ours.num_rebuilds < every_step.num_rebuilds / 2
        assert_same(found, expected)
        result = potential.evaluate(found[0])[0]
        np.testing.assert_allclose(found[0].get_forces(), result["forces"], atol=1e-8)


@pytest.mark.slow
def test_a_shrinking_box_outgrows_its_arrays_and_changes_nothing():
    atoms = argon(2, a=6.5)
    ensemble = NPT(
        temperature=30, pressure=3.0, pressure_time=300.0, compressibility=0.5, shape="full"
    )
    every_step, expected = final_of(atoms, ensemble, 5.0, 150, 0.0)
    ours, found = final_of(atoms, ensemble, 5.0, 150, 1.0)
    assert found[0].cell.volume < 0.8 * atoms.cell.volume
    assert ours.engine.lists.num_grown > 0
    assert ours.num_rebuilds < every_step.num_rebuilds / 2
    assert_same(found, expected)


def test_arrays_one_entry_too_small_grow_and_change_nothing(monkeypatch):
    """The second list has one pair, or one slot, more than the arrays hold."""
    ensemble = Langevin(temperature=200, friction=0.01)
    _, expected = final_of(argon(2), ensemble, 5.0, 200, 0.3)
    tight = host_lists.Capacity.holding

    class Exact(host_lists.Capacity):
        @classmethod
        def holding(cls, structures, headroom=1.0):
            """Return exactly what is needed; slots come in blocks of four."""
            graphs, atoms, *_ = tight(structures)
            pairs = sum(len(each.pairs) for each in structures)
            slots = max(np.bincount(each.pairs.directed()[0]).max() for each in structures)
            return host_lists.Capacity(graphs, atoms, pairs + 1, -(-slots // 4) * 4)

    monkeypatch.setattr(host_lists, "Capacity", Exact)
    ours, found = final_of(argon(2), ensemble, 5.0, 200, 0.3)
    assert ours.engine.lists.num_grown > 0
    assert_same(found, expected)


@pytest.mark.parametrize(
    "ensemble",
    [pytest.param(NVE(temperature=300), marks=pytest.mark.slow), Langevin(temperature=300)],
    ids=["nve", "langevin"],
)
def test_replicas_are_the_same_alone_and_in_company(ensemble):
    """Of different sizes, too; the small one has all its pairs, the slab a list that runs out."""
    crystal = argon(2)
    slab = fcc111("Ar", (2, 2, 2), a=5.3, vacuum=6.0)
    slab.pbc = (True, True, False)
    structures = [cluster(), crystal, slab, cluster(1)]
    together, found = final_of(structures, ensemble, 5.0, 100, 0.4)
    assert together.num_rebuilds > 1
    for index, atoms in enumerate(structures):
        _, expected = final_of(atoms, ensemble, 5.0, 100, 0.4, replicas=[index])
        assert_same(found[index : index + 1], expected)


@pytest.mark.slow
def test_replicas_of_a_network_are_the_same_alone_and_in_company():
    potential = network()
    structures = [ethanol(), ethanol(1)]
    _, found = final_of(structures, Langevin(), 0.25, 50, 0.5, potential)
    _, expected = final_of(structures[1], Langevin(), 0.25, 50, 0.5, potential, replicas=[1])
    assert_same(found[1:], expected)


def test_one_replica_running_out_leaves_the_lists_of_the_others():
    hot, cold = argon(2), argon(2, rattle=0)
    simulation, _ = final_of([hot, cold], NVE(temperature=(300.0, 1.0)), 5.0, 100, 0.5)
    assert simulation.num_rebuilds > 3
    start, _ = simulation.engine.frame.start
    positions = np.asarray(simulation.engine.neighbors.positions)
    np.testing.assert_array_equal(positions[32:64], start[32:])
    assert np.abs(positions[:32] - start[:32]).max() > 0.1


def test_a_small_molecule_has_all_pairs_and_never_a_second_list():
    potential = analytic("lennard_jones")
    simulation, _ = final_of(cluster(), NVE(temperature=300), 10.0, 500, 0.1, potential)
    assert simulation.num_rebuilds == 1


def test_float32_atoms_that_diffuse_far_keep_their_digits():
    """A gas atom crosses its cell many times: the frame follows it, and its path is whole."""
    atoms = argon(1, rattle=0.0)[:1]
    atoms.set_velocities([[1.0, 0.3, 0.0]])
    potential = analytic("lennard_jones", cutoff=2.0, dtype="float32")
    options = {"velocities": "keep", "max_displacement": 2.0}
    simulation, (final,) = final_of(atoms, NVE(), 10.0, 2000, 0.5, potential, **options)
    path = atoms.positions + 2000 * 10 * units.fs * np.array([1.0, 0.3, 0.0])
    np.testing.assert_allclose(final.positions, path, rtol=0, atol=0.05)
    assert np.abs(np.asarray(simulation.engine.state.positions)).max() < 30


@pytest.mark.slow
def test_a_crystal_smaller_than_the_cutoff_follows_its_images():
    atoms = bulk("Ar", "fcc", a=5.3)
    atoms.rattle(0.2, seed=1)
    ensemble = NPT(temperature=50, shape="full", pressure_time=200.0, compressibility=0.4)
    _, expected = final_of(atoms, ensemble, 5.0, 100, 0.0)
    _, found = final_of(atoms, ensemble, 5.0, 100, 0.5)
    assert_same(found, expected)


# --- the list of a large structure, made within the loop ---------------------------------------


@pytest.fixture
def on_device(monkeypatch):
    """Return a function that lets every structure count as large from now on, or none."""

    def choose(chosen):
        monkeypatch.setattr(
            "tensornet_jax.md.engines.compiled_loop.lists_on_device", lambda count: chosen
        )

    return choose


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


def test_a_list_made_within_the_loop_has_the_charges_of_its_atoms(on_device):
    potential = analytic("lennard_jones", cutoff=5.0, priors=[{"name": "coulomb", "cutoff": 4.5}])
    atoms = argon(1)
    atoms.set_initial_charges([0.3, -0.3, 0.2, -0.2])
    calculated = atoms.copy()
    calculated.calc = TensorNetCalculator(potential, compilation_cache=False)
    found = {}
    for chosen in (False, True):
        on_device(chosen)
        simulation = Simulation(potential, atoms, NVE(temperature=30), timestep=2.0)
        assert simulation.engine.lists.on_device == chosen
        found[chosen] = simulation.sample()
        assert found[chosen].potential_energy[0] == pytest.approx(
            calculated.get_potential_energy(), abs=1e-9
        )
        np.testing.assert_allclose(found[chosen].forces, calculated.get_forces(), atol=1e-9)
        simulation.run(20)


def test_a_list_made_within_the_loop_drops_nothing_that_a_structure_has():
    """Whatever field a structure gains belongs to it on the device, too."""
    potential = analytic("lennard_jones", cutoff=5.0)
    structure = potential.structure(argon(1), "", 0.3)
    told = {
        field.name: getattr(structure, field.name) for field in dataclasses.fields(structure)
    } | {"spin": 3, "charge": -2.0, "initial_charges": np.arange(4.0)}
    builder = DeviceListBuilder(type(structure)(**told), 5.0, 0.3, "float64")
    for name, value in told.items():
        if name != "pairs":
            np.testing.assert_array_equal(getattr(builder._structure, name), value, err_msg=name)
