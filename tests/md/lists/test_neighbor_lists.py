"""Lists of the host and of the device are one to whoever uses them, and keep what atoms have."""

from dataclasses import fields, replace

import numpy as np
import pytest

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures
from tensornet_jax.graph.structure import INPUTS, Structure
from tensornet_jax.md import NVE, Simulation
from tensornet_jax.md.lists.device_lists import DeviceLists
from tensornet_jax.md.lists.host_lists import HostLists
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tests.md.analytic import analytic, argon

CUTOFF, SKIN = 5.0, 0.4

pytestmark = pytest.mark.usefixtures("x64")


def with_every_input() -> Structure:
    """Return a structure in which no input of a model is what it would be by default."""
    structure = analytic("lennard_jones", cutoff=CUTOFF).structure(argon(1), "", SKIN)
    given = {"charge": -2.0, "spin": 3, "initial_charges": np.arange(1.0, 5.0), "head": 1}
    structure = replace(structure, species=structure.species + 1, **given)
    for name, kind in INPUTS.items():
        value = np.asarray(getattr(structure, name), float)
        assert value.shape == ((len(structure),) if kind.per == "atom" else ()) + kind.row
        assert np.isfinite(value).all(), f"give this test a {name}"
        assert value.any(), f"give this test a {name}"
    return structure


def assert_has_inputs(graph: AtomGraph | AtomGraph[np.ndarray], structure: Structure) -> None:
    for name, kind in INPUTS.items():
        if name in ("positions", "cell"):
            # What a list is made for, and evaluated at, is passed beside the graph.
            continue
        own, values = getattr(structure, name), getattr(graph, name)
        if own is None or values is None:
            assert own is values, name
            continue
        rows = values[: len(structure)] if kind.per == "atom" else values[0]
        np.testing.assert_array_equal(rows, own, err_msg=name)


def both(structure: Structure) -> tuple[NeighborLists, NeighborLists]:
    options = CUTOFF, SKIN, "float64"
    return HostLists([structure], *options), DeviceLists(structure, *options)


def test_every_field_of_a_graph_is_an_input_or_made_for_the_batch():
    made = {"node_graph", "node_mask", "graph_mask", "edges", "long_edges", "k_vectors", "mesh"}
    # How a divided structure's copies follow their owners: of the program, not of a structure.
    made.add("from_owners")
    assert {field.name for field in fields(AtomGraph)} == INPUTS.keys() | made
    lists = {"pairs", "far"}
    assert {field.name for field in fields(Structure)} == INPUTS.keys() | lists


def test_a_batch_has_every_input_of_its_structures():
    structure = with_every_input()
    batch = [structure, replace(structure, spin=2)]
    graph = batch_structures(batch, Capacity.holding(batch), "float64")
    assert_has_inputs(graph, structure)
    count = len(structure)
    center = structure.positions.mean(axis=0)
    np.testing.assert_array_equal(graph.positions[:count], structure.positions - center)
    assert graph.initial_charges is not None
    np.testing.assert_array_equal(graph.initial_charges[count : 2 * count], [1, 2, 3, 4])
    np.testing.assert_array_equal(graph.spin[:2], [3, 2])


def test_what_not_every_structure_has_is_left_out_of_a_batch():
    structure = with_every_input()
    batch = [structure, replace(structure, initial_charges=None)]
    graph = batch_structures(batch, Capacity.holding(batch), "float64")
    assert graph.initial_charges is None


def test_lists_keep_every_input_when_they_are_made_and_made_again():
    structure = with_every_input()
    center = structure.positions.mean(axis=0)
    for lists in both(structure):
        for positions in (structure.positions - center, structure.positions - center + 0.1):
            neighbors = lists.build(positions, structure.cell[None])
            assert_has_inputs(neighbors.graph, structure)
            np.testing.assert_array_equal(neighbors.positions[: len(structure)], positions)
            np.testing.assert_array_equal(neighbors.cell, structure.cell[None])


def test_lists_of_host_and_device_hold_the_same_pairs_and_last_as_long():
    structure = with_every_input()
    found = []
    for lists in both(structure):
        neighbors = lists.build(structure.positions, structure.cell[None])
        edges = neighbors.graph.edges
        real = np.asarray(edges.mask)
        columns = [np.asarray(each)[real] for each in (edges.receivers, edges.senders)]
        rows = np.column_stack([*columns, np.asarray(edges.shifts)[real]])
        found.append((sorted(rows.tolist()), np.asarray(neighbors.reach).tolist()))
        assert (lists.num_rebuilds, lists.num_grown, lists.num_atoms) == (1, 0, len(structure))
        assert lists.atoms == [slice(0, len(structure))]
    assert found[0] == found[1]


def test_sizes_of_arrays_come_back_from_json_and_others_are_refused():
    structure = with_every_input()
    for lists, again in zip(both(structure), both(structure), strict=True):
        neighbors = lists.build(structure.positions, structure.cell[None])
        saved = lists.saved_capacity()
        again.restore_capacity([list(x) if isinstance(x, tuple) else x for x in saved])
        assert again.saved_capacity() == saved
        assert again.loop == lists.loop
        restored = again.build(structure.positions, structure.cell[None])
        assert restored.graph.edges.slots.shape == neighbors.graph.edges.slots.shape
        with pytest.raises(ValueError, match="validation error"):
            again.restore_capacity(["large"])


@pytest.mark.parametrize("chosen", [False, True], ids=["host", "device"])
def test_calculator_and_dynamics_have_every_input_of_the_structure(on_device, chosen):
    potential = analytic(
        "lennard_jones", cutoff=CUTOFF, priors=[{"name": "coulomb", "cutoff": 4.5}]
    )
    atoms = argon(1)
    atoms.set_initial_charges([0.3, -0.3, 0.2, -0.2])
    structure = potential.structure(atoms)
    calculated = atoms.copy()
    calculator = TensorNetCalculator(potential)
    calculated.calc = calculator
    on_device(chosen)
    simulation = Simulation(potential, atoms, NVE(temperature=30), timestep=2.0)
    assert simulation.engine.lists.on_device == chosen
    sample = simulation.sample()
    energy = calculated.get_potential_energy()
    assert sample.potential_energy[0] == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(sample.forces, calculated.get_forces(), atol=1e-9)
    simulation.run(20)
    assert_has_inputs(simulation.engine.neighbors.graph, structure)
    neighborhood = calculator._evaluator.neighborhood
    assert neighborhood is not None
    assert_has_inputs(neighborhood.graph, structure)
