"""Structures for the neighbor list on the device, and what its edges must be."""

import itertools
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_list import DevicePairs, device_pairs
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.ops.messages.message import SLOT_BLOCK
from tests.builders import UNOPTIMIZED

CELLS = {
    "cubic": np.eye(3),
    "skewed": np.array([[1.0, 0.0, 0.0], [0.7, 1.0, 0.0], [-0.6, 0.8, 1.1]]),
    "left_handed": np.array([[1.0, 0.1, 0.0], [0.0, 0.2, 1.0], [0.1, 0.9, -0.3]]),
}

EVERYWHERE = (True, True, True)

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
