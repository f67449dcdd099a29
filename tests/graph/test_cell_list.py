"""The neighbor list on the device against an independent loop over images and the host list."""

import itertools
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_grid import CellListCapacity
from tensornet_jax.graph.cell_list import DevicePairs, device_pairs
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.potential.prediction import predict
from tests import tolerances
from tests.builders import UNOPTIMIZED, rattled_crystals, small_potential
from tests.graph.cells import (
    CELLS,
    EVERYWHERE,
    TRACES,
    assert_conventions,
    brute_force,
    edges_of,
    found_by_device,
    host_edges,
    padded,
    search,
    water_like,
)

ALL_PBC = list(itertools.product([False, True], repeat=3))

pytestmark = pytest.mark.usefixtures("x64")


def found_in_one_bin(positions, cell, pbc, cutoff=4.5) -> DevicePairs:
    """Search with sizes that hold any few atoms, so that all of them share one compiled search."""
    capacity = CellListCapacity(
        bins=(1, 1, 1),
        per_bin=8,
        pairs=4096,
        slots=512,
        reach=(4 * pbc[0], 4 * pbc[1], 4 * pbc[2]),
        widths=(100.0 * (not pbc[0]), 100.0 * (not pbc[1]), 100.0 * (not pbc[2])),
    )
    return found_by_device(positions, cell, pbc, cutoff, capacity, extra=9 - len(positions))


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize(
    ("shape", "length", "count"),
    [("cubic", 2.0, 2), ("skewed", 3.5, 4), ("left_handed", 7.0, 6), ("skewed", 20.0, 8)],
)
def test_edges_equal_brute_force_and_the_host_list(shape, length, count, pbc):
    rng = np.random.default_rng([int(length * 10), *pbc])
    cell = CELLS[shape] * length
    positions = rng.random((count, 3)) @ cell * (0.3 if length == 20 else 1)
    found = found_in_one_bin(positions, cell, pbc)
    edges = edges_of(found)
    assert edges == brute_force(positions, cell, pbc, 4.5)
    assert edges == host_edges(positions, cell, pbc, 4.5)
    assert edges
    assert_conventions(found, count)
    assert int(found.needed.slots) == max(Counter(e[0] for e in edges.elements()).values())


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("shape", ["skewed", "left_handed"])
def test_edges_of_unwrapped_positions_equal_brute_force(shape, pbc):
    rng = np.random.default_rng(3)
    cell = CELLS[shape] * 5.0
    positions = rng.random((5, 3)) @ cell + rng.integers(-2, 3, (5, 3)) @ cell
    edges = edges_of(found_in_one_bin(positions, cell, pbc))
    assert edges == brute_force(positions, cell, pbc, 4.5)


GEOMETRIES = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(0, 8), st.floats(3.0, 9.0), st.sampled_from(ALL_PBC)
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(GEOMETRIES)
def test_edges_of_any_few_atoms_equal_brute_force(geometry):
    seed, count, length, pbc = geometry
    rng = np.random.default_rng(seed)
    cell = (np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3))) * length
    positions = rng.uniform(-0.7, 1.7, (count, 3)) @ cell
    with jax.enable_x64(True):
        found = found_in_one_bin(positions, cell, pbc)
    assume(found.needed.reach)
    assert edges_of(found) == (brute_force(positions, cell, pbc, 4.5) if count else Counter())


def fly_off(positions):
    """Drift of everything, and three neighbors that leave together."""
    moved = positions.copy()
    moved[:3] = [[100.0, 50.0, -200.0], [101.0, 50.0, -200.0], [100.0, 51.5, -201.0]]
    return moved + np.array([500.0, -300.0, 100.0])


@pytest.mark.parametrize(
    ("shape", "pbc"),
    [
        ("left_handed", EVERYWHERE),
        ("skewed", (True, False, True)),
        ("skewed", (False, True, False)),
        ("skewed", (False, False, False)),
    ],
)
def test_many_bins_give_the_edges_of_the_host_list_wherever_atoms_go(monkeypatch, shape, pbc):
    monkeypatch.setattr("tensornet_jax.graph.cell_grid.WIDTHS", (1.0, 2.0))
    positions, cell = water_like(600, shape=shape)
    capacity = cell_list_capacity(positions, cell, pbc, 2.5, headroom=1.5)
    assert max(capacity.bins) >= 3
    for here in (positions, fly_off(positions)):
        found = found_by_device(here, cell, pbc, 2.5, capacity)
        assert edges_of(found) == host_edges(here, cell, pbc, 2.5)
        assert_conventions(found, len(here))


@pytest.mark.parametrize(
    ("width", "reach", "words", "pbc"),
    [
        (0.3, 3, 1, EVERYWHERE),
        (0.5, 2, 1, (True, False, True)),
        (np.inf, 1, 3, (True, True, False)),
    ],
)
def test_the_width_of_bins_does_not_change_the_edges(monkeypatch, width, reach, words, pbc):
    monkeypatch.setattr("tensornet_jax.graph.cell_grid.WIDTHS", (width,))
    monkeypatch.setattr("tensornet_jax.graph.cell_grid.BINS_PER_ATOM", 1000)
    positions, cell = water_like(80, shape="skewed")
    capacity = cell_list_capacity(positions, cell, pbc, 3.0, headroom=1.1)
    # Several bins within reach of narrow ones, several words for the atoms of a wide one.
    assert max(capacity.reach) >= reach
    assert capacity.words == words
    found = found_by_device(positions, cell, pbc, 3.0, capacity)
    assert edges_of(found) == host_edges(positions, cell, pbc, 3.0)


def test_pairs_written_in_several_blocks_are_all_there(monkeypatch):
    monkeypatch.setattr("tensornet_jax.graph.cell_pairs.PAIRS_AT_A_TIME", 1000)
    monkeypatch.setattr("tensornet_jax.graph.cell_search.TESTS_AT_A_TIME", 5000)
    positions, cell = water_like(300)
    capacity = cell_list_capacity(positions, cell, True, 4.0, headroom=1.3)
    assert capacity.pairs % 1000
    assert capacity.candidates > 50_000
    found = found_by_device(positions, cell, EVERYWHERE, 4.0, capacity)
    assert edges_of(found) == host_edges(positions, cell, True, 4.0)
    assert_conventions(found, len(positions))


@pytest.mark.parametrize("pbc", [(False, False, False), EVERYWHERE, (True, False, False)])
@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_atom_sees_nothing_but_its_images(count, pbc):
    found = found_in_one_bin(np.full((count, 3), 0.7), np.eye(3) * 4.0, pbc)
    assert_conventions(found, count)
    assert edges_of(found).total() == 2 * count * sum(pbc)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), (True, False, True)])
def test_vectors_of_open_directions_do_not_matter(pbc):
    rng = np.random.default_rng(9)
    cell = CELLS["skewed"] * 4.0
    positions = rng.random((5, 3)) @ cell
    zero, parallel = cell.copy(), cell.copy()
    zero[~np.array(pbc)] = 0.0
    parallel[~np.array(pbc)] = cell[np.flatnonzero(pbc)[0]]
    expected = host_edges(positions, cell, pbc, 4.5)
    capacities = {cell_list_capacity(positions, c, pbc, 4.5) for c in (cell, zero, parallel)}
    assert len(capacities) == 1
    for other in (zero, parallel):
        assert edges_of(found_in_one_bin(positions, other, pbc)) == expected


def test_replicas_and_gradients_pass_through_the_list():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, EVERYWHERE, 3.0, headroom=2.0)
    rng = np.random.default_rng(2)
    moves = rng.normal(scale=0.1, size=(2, *positions.shape))
    replicas = jnp.stack([padded(positions + move)[0] for move in moves])
    _, real = padded(positions)

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    @jax.vmap
    def energies(positions):
        def energy(positions):
            found = device_pairs(
                positions, jnp.asarray(real), jnp.asarray(cell), EVERYWHERE, 3.0, capacity
            )
            vectors = positions[found.senders] + found.shifts @ jnp.asarray(cell)
            vectors -= positions[found.receivers]
            return jnp.sum(jnp.where(found.edge_mask[:, None], vectors, 0) ** 2) / 2, found

        return jax.value_and_grad(energy, has_aux=True)(positions)

    (_, lists), gradients = energies(replicas)
    for k in range(2):
        here = np.asarray(replicas[k][:-1])
        found = jax.tree.map(lambda x, k=k: x[k], lists)
        assert edges_of(found) == host_edges(here, cell, EVERYWHERE, 3.0)
        pairs = neighbor_pairs(here, cell, EVERYWHERE, 3.0)
        expected = np.zeros((len(here), 3))
        vectors = 2 * pairs.vectors(here, cell)
        np.add.at(expected, pairs.second, vectors)
        np.add.at(expected, pairs.first, -vectors)
        np.testing.assert_allclose(gradients[k][:-1], expected, atol=1e3 * tolerances.ROUNDING)


def test_the_list_is_compiled_once_for_many_positions_and_cells():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, EVERYWHERE, 3.0)
    capacity = capacity._replace(pairs=2 * capacity.pairs)
    rng = np.random.default_rng(0)
    for _ in range(5):
        moved = positions + rng.normal(scale=0.05, size=positions.shape)
        found_by_device(moved, cell * rng.uniform(0.99, 1.01), EVERYWHERE, 3.0, capacity)
    assert TRACES.count(capacity) == 1


def test_the_list_is_the_same_every_time():
    positions, cell = water_like(50)
    one, two = (found_by_device(positions, cell, EVERYWHERE, 3.0) for _ in range(2))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_list_works_inside_a_compiled_loop():
    positions, cell = water_like(100)
    capacity = cell_list_capacity(positions, cell, True, 3.0, headroom=1.5)
    everything, real = padded(positions)
    moves = np.random.default_rng(1).normal(scale=0.1, size=(4, len(everything), 3))

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    def run(positions, moves):
        def step(positions, move):
            found = device_pairs(
                positions, jnp.asarray(real), jnp.asarray(cell), EVERYWHERE, 3.0, capacity
            )
            return positions + move, (found, positions)

        return jax.lax.scan(step, positions, moves)[1]

    lists, visited = run(everything, jnp.asarray(moves))
    for k in range(4):
        here = jax.tree.map(lambda x, k=k: x[k], lists)
        assert edges_of(here) == host_edges(visited[k][:-1], cell, True, 3.0)


def found_in_float32(positions, cell, capacity) -> DevicePairs:
    everything, real = padded(positions)
    with jax.enable_x64(False):
        arrays = jnp.asarray(everything, jnp.float32), real, jnp.asarray(cell, jnp.float32)
        return search(*arrays, EVERYWHERE, 3.0, capacity)


def test_edges_in_float32_differ_at_most_by_pairs_at_the_cutoff():
    positions, cell = water_like(50)
    found = found_in_float32(positions, cell, cell_list_capacity(positions, cell, True, 3.0))
    assert_conventions(found, len(positions))
    near = 3.0 * tolerances.OP_FLOAT32
    assert not host_edges(positions, cell, True, 3.0 - near) - edges_of(found)
    assert not edges_of(found) - host_edges(positions, cell, True, 3.0 + near)


def test_float32_overflows_where_it_no_longer_resolves_distances():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, True, 3.0)
    far = positions + 2e5
    assert not found_by_device(far, cell, EVERYWHERE, 3.0, capacity).overflow
    found = found_in_float32(far, cell, capacity)
    assert found.overflow
    assert not found.needed.positions


def test_energy_forces_and_stress_with_device_pairs_equal_those_with_the_host_list():
    potential = small_potential(num_layers=1)
    chosen = rattled_crystals()
    names = ("left-handed", "slab", "smaller than the cutoff")
    structures = [potential.structure(chosen[name]) for name in names]
    capacity = Capacity.holding(structures)._replace(graphs=1)

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    def evaluate(graph):
        compute = ("energy", "forces", "stress")
        return predict(potential.module, potential.variables, graph, compute)

    for name, structure in zip(names, structures, strict=True):
        graph = to_device(batch_structures([structure], capacity, "float64"))
        pbc = tuple(bool(periodic) for periodic in structure.pbc)
        cutoff = potential.cutoff
        sizes = cell_list_capacity(structure.positions, structure.cell, pbc, cutoff)
        # The same shapes as the host's graph: one compiled model for all of them.
        sizes = sizes._replace(pairs=capacity.pairs, slots=capacity.slots)
        found = search(graph.positions, graph.node_mask, graph.cell[0], pbc, cutoff, sizes)
        assert edges_of(found)
        edges = EdgeList(found.receivers, found.senders, found.shifts, found.edge_mask, found.slots)
        with potential.precision():
            expected, outputs = evaluate(graph), evaluate(graph.replace(edges=edges))
        for key in ("energy", "forces", "stress"):
            scale = float(np.abs(expected[key]).max())
            assert scale > 0
            np.testing.assert_allclose(
                outputs[key],
                expected[key],
                rtol=0,
                atol=tolerances.SAME_SUM * scale,
                err_msg=f"{key} of {name}",
            )
