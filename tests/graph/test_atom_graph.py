import ase
import numpy as np
import pytest
from ase.build import bulk, molecule

from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, rung
from tensornet_jax.graph.structure import make_structure
from tensornet_jax.graph.targets import Targets, batch_targets

ELEMENTS = (1, 6, 8, 14)


def structures(*atoms: ase.Atoms, cutoff: float = 4.0):
    return [make_structure(a, ELEMENTS, cutoff) for a in atoms]


def real_edges(graph: AtomGraph[np.ndarray]) -> np.ndarray:
    return np.flatnonzero(graph.edges.mask)


def test_ladder_of_sizes_wastes_at_most_a_quarter():
    sizes = np.arange(1, 5000)
    rungs = np.array([rung(int(size)) for size in sizes])
    assert (rungs >= sizes).all()
    assert (rungs[sizes > 4] < 1.26 * sizes[sizes > 4]).all()
    assert len(set(rungs.tolist())) < 50


def test_edge_and_its_reverse_are_half_the_array_apart():
    (structure,) = structures(bulk("Si"))
    graph = batch_structures([structure], Capacity.holding([structure]), "float64")
    half = len(graph.edges.senders) // 2
    np.testing.assert_array_equal(graph.edges.senders[:half], graph.edges.receivers[half:])
    np.testing.assert_array_equal(graph.edges.receivers[:half], graph.edges.senders[half:])
    np.testing.assert_array_equal(graph.edges.shifts[:half], -graph.edges.shifts[half:])


def test_slots_list_every_real_edge_once_at_its_receiver():
    batch = structures(molecule("CH3CH2OH"), bulk("Si"), molecule("H2O"))
    graph = batch_structures(batch, Capacity.holding(batch), "float64")
    last = len(graph.edges.senders) - 1
    listed = graph.edges.slots[graph.edges.slots != last]
    assert sorted(listed.tolist()) == real_edges(graph).tolist()
    atoms, _ = np.nonzero(graph.edges.slots != last)
    np.testing.assert_array_equal(graph.edges.receivers[listed], atoms)
    assert not graph.edges.mask[last]


def test_no_edge_joins_two_structures_and_padding_joins_only_padding():
    batch = structures(molecule("CH3CH2OH"), molecule("H2O"))
    graph = batch_structures(batch, Capacity(3, 20, 60, 16), "float32")
    edges = real_edges(graph)
    np.testing.assert_array_equal(
        graph.node_graph[graph.edges.senders[edges]], graph.node_graph[graph.edges.receivers[edges]]
    )
    padding = np.flatnonzero(~graph.edges.mask)
    assert not graph.node_mask[graph.edges.senders[padding]].any()
    assert graph.graph_mask.tolist() == [True, True, False]
    assert 1 - graph.node_mask.mean() == pytest.approx(1 - 12 / 20)


def test_what_does_not_fit_is_refused_not_truncated():
    batch = structures(molecule("CH3CH2OH"))
    exact = Capacity.holding(batch)
    for name, value in (("atoms", 9), ("pairs", len(batch[0].pairs)), ("slots", 4), ("graphs", 0)):
        with pytest.raises(ValueError, match="do not fit"):
            batch_structures(batch, exact._replace(**{name: value}), "float32")


def test_one_atom_no_atom_and_no_structure_make_a_graph():
    for batch in (structures(ase.Atoms("H")), structures(ase.Atoms()), []):
        graph = batch_structures(batch, Capacity.holding(batch), "float32")
        assert not graph.edges.mask.any()
        assert graph.node_mask.sum() == sum(len(s) for s in batch)


def test_float32_positions_of_a_molecule_far_away_keep_their_digits():
    near, far = molecule("H2O"), molecule("H2O")
    far.positions += [5000.0, -3000.0, 20000.0]
    a, b = (batch_structures([s], Capacity.holding([s]), "float32") for s in structures(near, far))
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-6)


def test_targets_are_missing_in_padding():
    missing = np.full((3, 3), np.nan)
    label = Targets({"energy": np.array(1.5), "stress": missing}, {"forces": np.ones((3, 3))})
    packed = batch_targets([label], Capacity(2, 8, 8, 4), "float32")
    assert packed.of("energy")[0] == 1.5
    assert np.isnan(packed.of("energy")[1])
    assert np.isnan(packed.of("forces")[3:]).all()
    assert not np.isnan(packed.of("forces")[:3]).any()
    assert np.isnan(packed.of("stress")).all()
