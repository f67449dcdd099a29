"""Lists made on the host that run out, or outgrow their arrays: the path stays the same."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111

import tensornet_jax.md.lists.host_lists as host_lists
from tensornet_jax.graph.atom_graph import COARSE
from tensornet_jax.md import NPT, NVE, Langevin
from tests.builders import ethanol
from tests.md.analytic import analytic, argon, cluster, network
from tests.md.lists.runs import assert_same, final_of


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
        def holding(cls, structures, headroom=1.0, rungs=COARSE):
            """Return exactly what is needed; slots come in blocks of four."""
            graphs, atoms, *_ = tight(structures, headroom, rungs)
            pairs = sum(len(each.pairs) for each in structures)
            slots = max(int(np.bincount(each.pairs.directed()[0]).max()) for each in structures)
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
