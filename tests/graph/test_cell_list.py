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
from tensornet_jax.graph.cell_grid import choose_grid, forward_stencil
from tensornet_jax.graph.cell_list import (
    CellListCapacity,
    DevicePairs,
    cell_list_capacity,
    device_pairs,
    larger_capacity,
)
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.ops.messages.message import SLOT_BLOCK
from tensornet_jax.potential.prediction import predict
from tests import tolerances
from tests.builders import UNOPTIMIZED, ethanol, rattled_crystals, small_potential

ALL_PBC = list(itertools.product([False, True], repeat=3))
CELLS = {
    "cubic": np.eye(3),
    "skewed": np.array([[1.0, 0.0, 0.0], [0.7, 1.0, 0.0], [-0.6, 0.8, 1.1]]),
    "left_handed": np.array([[1.0, 0.1, 0.0], [0.0, 0.2, 1.0], [0.1, 0.9, -0.3]]),
}

EVERYWHERE = (True, True, True)

pytestmark = pytest.mark.usefixtures("x64")

TRACES = []


def traced(positions, real, cell, pbc, cutoff, capacity) -> DevicePairs:
    TRACES.append(capacity)
    return device_pairs(positions, real, cell, pbc, cutoff, capacity)


search = partial(
    jax.jit,
    static_argnames=("pbc", "cutoff", "capacity"),
    compiler_options=UNOPTIMIZED,
)(traced)


def padded(positions, extra=1):
    """Positions with padding atoms among the others, and the mask of real ones."""
    positions = np.asarray(positions, np.float64).reshape(-1, 3)
    real = np.arange(len(positions) + extra) < len(positions)
    return jnp.asarray(np.concatenate([positions, np.full((extra, 3), 3.0)])), real


def found_by_device(positions, cell, pbc, cutoff, capacity=None, extra=1) -> DevicePairs:
    if capacity is None:
        capacity = cell_list_capacity(positions, cell, pbc, cutoff)
    everything, real = padded(positions, extra)
    return search(everything, real, jnp.asarray(cell), tuple(pbc), cutoff, capacity)


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


def edges_of(found: DevicePairs) -> Counter:
    assert not found.overflow
    mask = np.asarray(found.edge_mask)
    columns = found.receivers, found.senders, found.shifts
    edges = np.column_stack([np.asarray(column)[mask] for column in columns])
    return Counter(map(tuple, edges.tolist()))


def host_edges(positions, cell, pbc, cutoff) -> Counter:
    edges = np.column_stack(neighbor_pairs(positions, cell, pbc, cutoff).directed())
    return Counter(map(tuple, edges.tolist()))


def brute_force(positions, cell, pbc, cutoff) -> Counter:
    """Each pair of atoms with every image that may be near, whatever the cell."""
    farthest = cutoff + np.linalg.norm(np.ptp(positions, axis=0))
    most = [0, 0, 0]
    directions = [a for a in range(3) if pbc[a]]
    for a in directions:
        others = np.array([cell[b] for b in directions if b != a]).reshape(-1, 3)
        basis = np.linalg.qr(others.T)[0]
        height = np.linalg.norm(cell[a] - basis @ (basis.T @ cell[a]))
        most[a] = int(farthest / height) + 1
    found = Counter()
    for image in itertools.product(*(range(-m, m + 1) for m in most)):
        offset = sum(step * cell[a] for a, step in enumerate(image) if step)
        for i, position in enumerate(positions):
            near = np.linalg.norm(positions + offset - position, axis=1) < cutoff
            for j in np.flatnonzero(near).tolist():
                if i != j or any(image):
                    found[(i, j, *image)] += 1
    return found


def water_like(count, seed=0, shape="cubic"):
    """Atoms at 0.1 Å⁻³, none closer than about 1 Å, in random order; their periodic cell."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(count ** (1 / 3)))
    sites = np.array(list(itertools.product(range(side), repeat=3)))
    fractions = sites[rng.permutation(len(sites))[:count]] + 0.5
    fractions = (fractions + rng.uniform(-0.25, 0.25, fractions.shape)) / side
    cell = CELLS[shape] * np.cbrt(10.0 * count / abs(np.linalg.det(CELLS[shape])))
    return fractions @ cell, cell


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


def test_the_capacity_of_a_tiny_cell_reaches_across_many_images():
    pbc = (True, False, True)
    cell = CELLS["skewed"] * 2.0
    positions = np.random.default_rng(12).random((3, 3)) @ cell
    capacity = cell_list_capacity(positions, cell, pbc, 5.0)
    assert max(capacity.reach) >= 3
    edges = edges_of(found_by_device(positions, cell, pbc, 5.0, capacity))
    assert edges == brute_force(positions, cell, pbc, 5.0)


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
    monkeypatch.setattr("tensornet_jax.graph.cell_list.PAIRS_AT_A_TIME", 1000)
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


def test_a_capacity_made_from_no_atom_holds_none():
    nothing = np.zeros((0, 3))
    assert not edges_of(found_by_device(nothing, np.eye(3) * 4.0, EVERYWHERE, 3.0))


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


def test_a_perfect_crystal_fits_the_capacity_made_from_it():
    sites = np.array(list(itertools.product(range(12), repeat=3))) * 2.5
    cell = np.eye(3) * 30.0
    capacity = cell_list_capacity(sites, cell, True, 4.9, headroom=1.0)
    found = found_by_device(sites, cell, EVERYWHERE, 4.9, capacity)
    assert edges_of(found) == host_edges(sites, cell, True, 4.9)


def assert_conventions(found: DevicePairs, count: int) -> None:
    """What `AtomGraph` says of edges, padding and slots."""
    assert not found.overflow
    receivers, senders, shifts, mask = (
        np.asarray(x) for x in (found.receivers, found.senders, found.shifts, found.edge_mask)
    )
    half, slots = len(receivers) // 2, np.asarray(found.slots)
    last = len(slots) - 1
    assert {x.dtype for x in (receivers, senders, shifts, slots)} == {np.dtype(np.int32)}
    np.testing.assert_array_equal(receivers[:half], senders[half:])
    np.testing.assert_array_equal(senders[:half], receivers[half:])
    np.testing.assert_array_equal(shifts[:half], -shifts[half:])
    np.testing.assert_array_equal(mask[:half], mask[half:])
    assert not mask[-1]
    assert (receivers[~mask] == last).all()
    assert (senders[~mask] == last).all()
    assert not shifts[~mask].any()
    assert slots.shape[1] % SLOT_BLOCK == 0
    used = slots != 2 * half - 1
    assert not used[count:].any()
    for atom, (row, here) in enumerate(zip(slots, used, strict=True)):
        assert sorted(row[here]) == np.flatnonzero(mask & (receivers == atom)).tolist()
        # Used slots come first, as they do in the host's table.
        assert not here[here.sum() :].any()


def exact_capacity(positions, cell, pbc, cutoff) -> CellListCapacity:
    """Exactly as large as needed, for slots to the block."""
    pairs = neighbor_pairs(positions, cell, pbc, cutoff)
    degree = int(np.bincount(pairs.directed()[0]).max())
    grid = choose_grid(positions, cell, pbc, cutoff, 1.0)
    return grid._replace(pairs=len(pairs) + 1, slots=-(-degree // SLOT_BLOCK) * SLOT_BLOCK)


@pytest.mark.parametrize(
    ("field", "less"), [("", 0), ("pairs", 1), ("slots", SLOT_BLOCK), ("per_bin", 1)]
)
def test_a_capacity_one_too_small_overflows_and_tells_what_is_needed(field, less):
    positions, cell = water_like(400, shape="skewed")
    exact = exact_capacity(positions, cell, EVERYWHERE, 3.0)
    small = exact._replace(**{field: getattr(exact, field) - less}) if field else exact
    found = found_by_device(positions, cell, EVERYWHERE, 3.0, small)
    needed = {name: int(getattr(found.needed, name)) for name in ("pairs", "slots", "per_bin")}
    grown = larger_capacity(small, found.needed, headroom=1.0)
    if not field:
        assert edges_of(found) == host_edges(positions, cell, EVERYWHERE, 3.0)
        assert grown == exact
        assert (needed["pairs"], needed["per_bin"]) == (exact.pairs, exact.per_bin)
        return
    assert found.overflow
    assert getattr(exact, field) - less < needed[field] <= getattr(exact, field)
    assert getattr(grown, field) >= getattr(exact, field)
    # Nothing else grows.
    assert grown._replace(**{field: 0}) == exact._replace(**{field: 0})


def test_a_cell_may_shrink_by_the_headroom_and_overflows_beyond():
    positions, cell = water_like(400)
    capacity = cell_list_capacity(positions, cell, EVERYWHERE, 4.0, headroom=1.5)
    capacity = capacity._replace(pairs=2 * capacity.pairs, slots=2 * capacity.slots)
    limit = 4.0 * capacity.bins[0] / capacity.reach[0] / cell[0, 0]
    assert limit < 1.5 ** (-1 / 3) * 1.001
    for scale in (1.0, limit * 1.001):
        here, box = positions * scale, cell * scale
        found = found_by_device(here, box, EVERYWHERE, 4.0, capacity)
        assert edges_of(found) == host_edges(here, box, EVERYWHERE, 4.0)
    here, box = positions * limit * 0.999, cell * limit * 0.999
    found = found_by_device(here, box, EVERYWHERE, 4.0, capacity)
    assert found.overflow
    with pytest.raises(ValueError, match="the cell has shrunk"):
        larger_capacity(capacity, found.needed)


def test_a_missing_padding_atom_overflows():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, True, 3.0)
    everything, real = padded(positions)
    found = search(everything, np.ones_like(real), jnp.asarray(cell), EVERYWHERE, 3.0, capacity)
    assert found.overflow
    with pytest.raises(ValueError, match="the last atom is not padding"):
        larger_capacity(capacity, found.needed)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e20])
@pytest.mark.parametrize("pbc", [(True, True, True), (False, False, False)])
def test_positions_of_a_run_that_blew_up_overflow(bad, pbc):
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, pbc, 3.0)
    positions[7, 1] = bad
    found = found_by_device(positions, cell, pbc, 3.0, capacity)
    assert found.overflow
    with pytest.raises(ValueError, match="blown up"):
        larger_capacity(capacity, found.needed)


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


@pytest.mark.parametrize("bad", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3))])
def test_a_cell_that_has_lost_its_volume_overflows(bad):
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, True, 3.0)
    assert found_by_device(positions, bad, EVERYWHERE, 3.0, capacity).overflow


def test_a_capacity_for_something_else_is_refused():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, (True, True, False), 3.0)
    with pytest.raises(ValueError, match="is not for pbc"):
        found_by_device(positions, cell, EVERYWHERE, 3.0, capacity)
    wide = cell_list_capacity(*water_like(3000), False, 3.0)
    with pytest.raises(ValueError, match=r"a cutoff of 7\.0 Å"):
        found_by_device(positions, cell, (False,) * 3, 7.0, wide)
    odd = capacity._replace(slots=capacity.slots + 1)
    with pytest.raises(ValueError, match="multiple of"):
        found_by_device(positions, cell, (True, True, False), 3.0, odd)
    huge = capacity._replace(pairs=2**30)
    with pytest.raises(ValueError, match="do not fit 32-bit indices"):
        found_by_device(positions, cell, (True, True, False), 3.0, huge)
    with pytest.raises(ValueError, match="headroom must be at least 1"):
        cell_list_capacity(positions, cell, True, 3.0, headroom=0.9)


def test_large_structures_are_counted_on_the_device_to_the_same_capacity(monkeypatch):
    positions, cell = water_like(300)
    by_host = cell_list_capacity(positions, cell, EVERYWHERE, 4.0)
    monkeypatch.setattr("tensornet_jax.graph.cell_list.MOST_COUNTED_BY_HOST", 10)
    # Where rounding fills a bin beyond what was counted, it grows until it fits.
    monkeypatch.setattr("tensornet_jax.graph.cell_list.choose_grid", one_too_full)
    by_device = cell_list_capacity(positions, cell, EVERYWHERE, 4.0)
    assert by_device._replace(per_bin=0) == by_host._replace(per_bin=0)
    fullest = choose_grid(positions, cell, EVERYWHERE, 4.0, 1.0).per_bin
    assert fullest <= by_device.per_bin <= by_host.per_bin


def one_too_full(positions, cell, periodic, cutoff, headroom):
    fullest = choose_grid(positions, cell, periodic, cutoff, 1.0).per_bin
    return choose_grid(positions, cell, periodic, cutoff, headroom)._replace(per_bin=fullest - 1)


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


def test_the_search_tests_a_number_of_distances_linear_in_the_atoms():
    per_atom = []
    for count in (1000, 8000, 64_000):
        positions, cell = water_like(count)
        grid = choose_grid(positions, cell, EVERYWHERE, 5.0, 1.2)
        per_atom.append(grid.candidates / count)
    assert max(per_atom) < 2.5 * min(per_atom)
    assert per_atom[-1] < 2500


def test_the_stencil_holds_each_two_opposite_bins_once():
    for reach in ((0, 0, 0), (1, 0, 2), (2, 2, 1)):
        steps = {tuple(step) for step in forward_stencil(reach).tolist()}
        everything = set(itertools.product(*(range(-r, r + 1) for r in reach)))
        mirrored = {tuple(-s for s in step) for step in steps}
        assert steps | mirrored == everything
        assert steps & mirrored == {(0, 0, 0)}


def test_two_fragments_far_apart_ask_for_few_bins():
    positions = np.concatenate([ethanol().positions, ethanol(1).positions + 5000.0])
    capacity = cell_list_capacity(positions, np.zeros((3, 3)), False, 5.0)
    assert capacity.num_bins < 100
    edges = edges_of(found_by_device(positions, np.zeros((3, 3)), (False,) * 3, 5.0, capacity))
    assert edges == host_edges(positions, np.zeros((3, 3)), False, 5.0)
