"""The host neighbor list against an independent loop over images and against ASE."""

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list

from tensornet_jax.graph.neighbors import Pairs, neighbor_pairs

ALL_PBC = list(itertools.product([False, True], repeat=3))
CELLS = {
    "cubic": np.eye(3),
    "skewed": np.array([[1.0, 0.0, 0.0], [0.7, 1.0, 0.0], [-0.6, 0.8, 1.1]]),
    "left_handed": np.array([[1.0, 0.1, 0.0], [0.0, 0.2, 1.0], [0.1, 0.9, -0.3]]),
}


def directed_multiset(pairs: Pairs) -> Counter:
    receivers, senders, shifts = pairs.directed()
    edges = np.column_stack([receivers, senders, shifts]).tolist()
    return Counter(tuple(edge) for edge in edges)


def brute_force(positions, cell, pbc, cutoff) -> Counter:
    """Loop over every image that could reach: a bound from the dual vectors, no wrapping."""
    reach = np.ptp(positions, axis=0) @ np.ones(3) + cutoff
    ranges = [range(1)] * 3
    periodic = np.flatnonzero(pbc)
    if len(periodic):
        dual = np.linalg.pinv(cell[periodic]).T
        for direction, vector in zip(periodic, dual, strict=True):
            most = int(np.ceil(np.linalg.norm(vector) * reach)) + 1
            ranges[direction] = range(-most, most + 1)
    images = np.array(list(itertools.product(*ranges)))
    found = Counter()
    for i, j in itertools.product(range(len(positions)), repeat=2):
        vectors = positions[j] + images @ cell - positions[i]
        near = np.einsum("sd,sd->s", vectors, vectors) < cutoff**2
        for image in images[near]:
            if i != j or image.any():
                found[(i, j, *image.tolist())] += 1
    return found


def ase_list(positions, cell, pbc, cutoff) -> Counter:
    i, j, shifts = primitive_neighbor_list("ijS", pbc, cell, positions, cutoff)
    return Counter(tuple(edge) for edge in np.column_stack([i, j, shifts]).tolist())


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("shape", CELLS)
@pytest.mark.parametrize(("length", "count"), [(2.0, 2), (3.5, 4), (7.0, 6), (20.0, 25)])
def test_edges_equal_brute_force_and_ase(shape, length, count, pbc):
    rng = np.random.default_rng([int(length * 10), *pbc])
    cell = CELLS[shape] * length
    positions = rng.random((count, 3)) @ cell
    found = directed_multiset(neighbor_pairs(positions, cell, pbc, 4.5))
    assert found == brute_force(positions, cell, pbc, 4.5)
    assert found == ase_list(positions, cell, pbc, 4.5)
    assert found


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("shape", CELLS)
def test_edges_of_unwrapped_positions_equal_brute_force_and_ase(shape, pbc):
    rng = np.random.default_rng(3)
    cell = CELLS[shape] * 5.0
    positions = rng.random((4, 3)) @ cell + rng.integers(-2, 3, (4, 3)) @ cell
    found = directed_multiset(neighbor_pairs(positions, cell, pbc, 6.0))
    assert found == brute_force(positions, cell, pbc, 6.0)
    assert found == ase_list(positions, cell, pbc, 6.0)


def test_lattice_shifts_of_single_atoms_leave_the_vectors_unchanged():
    rng = np.random.default_rng(4)
    cell = CELLS["skewed"] * 4.0
    positions = rng.random((6, 3)) @ cell
    moved = positions + rng.integers(-50, 51, (6, 3)) @ cell
    before = neighbor_pairs(positions, cell, True, 5.0)
    after = neighbor_pairs(moved, cell, True, 5.0)
    np.testing.assert_array_equal(before.first, after.first)
    np.testing.assert_array_equal(before.second, after.second)
    np.testing.assert_allclose(
        before.vectors(positions, cell), after.vectors(moved, cell), atol=1e-10
    )


@pytest.mark.parametrize("pbc", [(False,) * 3, (True,) * 3, (True, True, False)])
def test_translating_everything_by_5000_angstrom_changes_nothing(pbc):
    rng = np.random.default_rng(5)
    cell = CELLS["left_handed"] * 6.0
    positions = rng.random((8, 3)) @ cell
    moved = positions + 5000.0
    assert directed_multiset(neighbor_pairs(positions, cell, pbc, 4.0)) == directed_multiset(
        neighbor_pairs(moved, cell, pbc, 4.0)
    )


@pytest.mark.parametrize("pbc", ALL_PBC)
def test_few_atoms_far_apart_or_in_a_huge_cell_are_found_quickly(pbc):
    rng = np.random.default_rng(6)
    cell = CELLS["skewed"] * 20_000.0
    cluster = rng.random((4, 3)) * 3
    corners = np.array(
        [[0.0, 0, 0], [3000, -4000, 5000], [30_000, 10_000, -1000], [1e-9, 0, 19999]]
    )
    positions = (cluster[None] + corners[:, None]).reshape(-1, 3)
    positions[-4:] = cluster + cell[1] - 1.5 + rng.random((4, 3)) * 0.1
    start = time.perf_counter()
    pairs = neighbor_pairs(positions, cell, pbc, 5.0)
    assert time.perf_counter() - start < 1.0
    assert directed_multiset(pairs) == all_near_images(positions, cell, pbc)
    assert len(pairs) >= 4 * 6


def all_near_images(positions, cell, pbc) -> Counter:
    """Images up to ±2: enough for a cell of 20 000 Å holding atoms within 1.5 cells."""
    found = Counter()
    ranges = [range(-3, 4) if periodic else range(1) for periodic in pbc]
    for image in itertools.product(*ranges):
        vectors = positions[None] + np.array(image) @ cell - positions[:, None]
        near = np.linalg.norm(vectors, axis=-1) < 5.0
        for i, j in np.argwhere(near).tolist():
            if i != j or any(image):
                found[(i, j, *image)] += 1
    return found


def test_each_undirected_pair_appears_once_and_in_order():
    rng = np.random.default_rng(7)
    cell = CELLS["skewed"] * 3.0
    pairs = neighbor_pairs(rng.random((5, 3)) @ cell, cell, True, 6.0)
    edges = directed_multiset(pairs)
    assert set(edges.values()) == {1}
    assert (pairs.first <= pairs.second).all()
    rows = np.column_stack([pairs.first, pairs.second, pairs.shifts]).tolist()
    assert rows == sorted(rows, key=lambda row: row[:2])
    images = pairs.shifts[pairs.first == pairs.second].tolist()
    assert images
    assert all(next(step for step in shift if step) > 0 for shift in images)
    assert pairs.first.dtype == pairs.second.dtype == pairs.shifts.dtype == np.int32


def test_reverse_of_edge_e_is_edge_e_plus_half():
    rng = np.random.default_rng(8)
    cell = np.eye(3) * 4.0
    pairs = neighbor_pairs(rng.random((5, 3)) * 4, cell, True, 5.0)
    receivers, senders, shifts = pairs.directed()
    half = len(pairs)
    np.testing.assert_array_equal(receivers[:half], senders[half:])
    np.testing.assert_array_equal(senders[:half], receivers[half:])
    np.testing.assert_array_equal(shifts[:half], -shifts[half:])


def test_cutoff_itself_is_excluded():
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    assert len(neighbor_pairs(positions, np.zeros((3, 3)), False, 2.0)) == 0
    assert len(neighbor_pairs(positions, np.zeros((3, 3)), False, np.nextafter(2.0, 3))) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_atom_without_a_cell_has_no_pairs(count):
    pairs = neighbor_pairs(np.zeros((count, 3)), np.zeros((3, 3)), False, 5.0)
    assert len(pairs) == 0
    assert pairs.shifts.shape == (0, 3)


def test_no_atom_in_a_periodic_cell_has_no_pairs():
    assert len(neighbor_pairs(np.zeros((0, 3)), np.eye(3), True, 5.0)) == 0


def test_one_atom_in_a_small_cell_sees_its_images_once():
    pairs = neighbor_pairs(np.zeros((1, 3)), np.eye(3) * 2.0, True, 2.1)
    assert sorted(pairs.shifts.tolist()) == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), (True, False, True)])
def test_vectors_of_open_directions_do_not_matter(pbc):
    rng = np.random.default_rng(9)
    cell = CELLS["skewed"] * 4.0
    positions = rng.random((5, 3)) @ cell
    zero, parallel = cell.copy(), cell.copy()
    opened = ~np.array(pbc)
    zero[opened] = 0.0
    parallel[opened] = cell[np.flatnonzero(pbc)[0]]
    expected = directed_multiset(neighbor_pairs(positions, cell, pbc, 4.5))
    assert expected == directed_multiset(neighbor_pairs(positions, zero, pbc, 4.5))
    assert expected == directed_multiset(neighbor_pairs(positions, parallel, pbc, 4.5))


def test_the_list_is_the_same_every_time():
    rng = np.random.default_rng(10)
    cell = CELLS["skewed"] * 6.0
    positions = rng.random((20, 3)) @ cell
    one, two = (neighbor_pairs(positions, cell, True, 5.0) for _ in range(2))
    np.testing.assert_array_equal(one.shifts, two.shifts)
    np.testing.assert_array_equal(one.second, two.second)


def test_input_is_not_modified():
    rng = np.random.default_rng(11)
    cell = CELLS["skewed"] * 4.0
    positions = rng.random((5, 3)) @ cell + 40.0
    kept = positions.copy(), cell.copy()
    neighbor_pairs(positions, cell, (True, False, True), 4.5)
    np.testing.assert_array_equal(positions, kept[0])
    np.testing.assert_array_equal(cell, kept[1])


def test_coincident_atoms_are_named():
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0], [5.0, 5, 5], [1.0, 0, 1e-7]])
    with pytest.raises(ValueError, match=r"atoms 1 and 3 are 1\.0e-07 Å apart"):
        neighbor_pairs(positions, np.zeros((3, 3)), False, 4.0)


def test_atom_on_the_periodic_image_of_another_is_named():
    positions = np.array([[0.0, 0, 0], [5.0, 5, 0]])
    with pytest.raises(ValueError, match=r"atoms 0 and 1 \(its periodic image \(-1, -1, 0\)\)"):
        neighbor_pairs(positions, np.eye(3) * 5, True, 4.0)


@pytest.mark.parametrize(
    ("cell", "pbc", "message"),
    [
        (np.zeros((3, 3)), True, "lattice vector a is zero"),
        (np.diag([3.0, 0, 3]), (True, True, False), "lattice vector b is zero"),
        (np.array([[3.0, 0, 0], [0, 3, 0], [3, 3, 0]]), True, "lattice vector c = .* depends"),
        (np.array([[3.0, 0, 0], [6, 0, 0], [0, 0, 3]]), (True, True, False), "vector b = .* dep"),
    ],
)
def test_periodic_direction_without_volume_is_named(cell, pbc, message):
    with pytest.raises(ValueError, match=message):
        neighbor_pairs(np.zeros((1, 3)), cell, pbc, 3.0)


def test_bad_numbers_are_refused():
    good = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    bad = np.array([[0.0, 0, 0], [1.0, np.nan, 0]])
    with pytest.raises(ValueError, match="position of atom 1 is not finite"):
        neighbor_pairs(bad, np.eye(3), False, 3.0)
    with pytest.raises(ValueError, match="cell is not finite"):
        neighbor_pairs(good, np.diag([1.0, np.inf, 1.0]), False, 3.0)
    with pytest.raises(ValueError, match=r"atom 1 is at .* blown up"):
        neighbor_pairs(np.array([[0.0, 0, 0], [1e20, 0, 0]]), np.eye(3), False, 3.0)
    for cutoff in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="cutoff must be a positive length"):
            neighbor_pairs(good, np.eye(3), False, cutoff)
    with pytest.raises(ValueError, match=r"positions must have shape \(N, 3\)"):
        neighbor_pairs(np.zeros(3), np.eye(3), False, 3.0)
    with pytest.raises(ValueError, match=r"cell must have shape \(3, 3\)"):
        neighbor_pairs(good, np.eye(2), False, 3.0)
