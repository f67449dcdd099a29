"""Neighbor list on the device, under jit: the host list's edges in arrays of static size.

Atoms are sorted into bins and distances are tested for half of the neighboring bins, each pair of
atoms once. What is found is kept as one bit: a row of words for each atom. All else is counting
bits. The p-th pair is the k-th bit of a word; which of the second atom's slots it fills is told by
the number of bits before its own in that atom's row of the transposed words. Nothing is compacted,
no sum depends on a race, and rounding cannot make the two directions of a pair disagree. Work and
memory are linear in the atoms but for one sort of their bin numbers.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike

from tensornet_jax.graph.atom_graph import rung
from tensornet_jax.graph.cell_grid import (
    CellListCapacity,
    Periodic,
    choose_grid,
    forward_stencil,
    with_headroom,
)
from tensornet_jax.graph.cell_search import (
    BinnedAtoms,
    backward_words,
    bin_atoms,
    forward_words,
    full_product,
    take,
)
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.ops.messages.message import SLOT_BLOCK

# Pairs written at a time: intermediate arrays stay in a CPU's cache.
PAIRS_AT_A_TIME = 1 << 16
# More atoms than this are counted on the device: the host list takes longer than compiling that.
MOST_COUNTED_BY_HOST = 50_000


class Needed(NamedTuple):
    """What a capacity must hold; pairs and slots are too few where a bin or the reach overflows.

    pairs: () int32, one padding pair included.
    slots: () int32, edges arriving at the atom that has most.
    per_bin: () int32, atoms in the fullest bin.
    reach: () bool, the bins within reach cover the cutoff: the cell has not shrunk too far.
    padding: () bool, the last atom is padding.
    positions: () bool, all positions are finite and near enough to resolve distances.
    """

    pairs: Array
    slots: Array
    per_bin: Array
    reach: Array
    padding: Array
    positions: Array


class DevicePairs(NamedTuple):
    """Edges of a structure as `AtomGraph` has them.

    receivers, senders: (2P,) int32; edge e + P is the reverse of edge e.
    shifts: (2P, 3) int32; the vector of an edge is r_j + shifts @ cell − r_i.
    edge_mask: (2P,) bool, False for padding, which connects the last atom with itself.
    slots: (N, K) int32 edges arriving at each atom; unused slots name the last edge.
    overflow: () bool: something did not fit and the arrays must not be used.
    needed: what would fit.
    """

    receivers: Array
    senders: Array
    shifts: Array
    edge_mask: Array
    slots: Array
    overflow: Array
    needed: Needed


def cell_list_capacity(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float, headroom: float = 1.2
) -> CellListCapacity:
    """Choose the sizes that hold a structure and what it is likely to become.

    Args:
        positions: (N, 3) Å, of real atoms.
        cell: (3, 3) rows are lattice vectors, Å; rows of open directions are ignored.
        pbc: (3,) bool, or one bool for all directions.
        cutoff: Å, the skin included.
        headroom: factor on pairs, slots and the atoms of a bin; periodic heights may shrink by its
            cube root before bins no longer reach far enough.

    Raises:
        ValueError: headroom is below 1, or `neighbor_pairs` would refuse the structure.
    """
    if not headroom >= 1:
        raise ValueError(f"headroom must be at least 1, not {headroom}")
    positions = np.asarray(positions, np.float64)
    cell = np.asarray(cell, np.float64)
    along = np.broadcast_to(np.asarray(pbc, bool), 3)
    periodic = (bool(along[0]), bool(along[1]), bool(along[2]))
    # Refuses a cell or cutoff that makes no sense.
    neighbor_pairs(positions[:0], cell, periodic, cutoff)
    grid = choose_grid(positions, cell, periodic, cutoff, headroom)
    if len(positions) > MOST_COUNTED_BY_HOST:
        return _counted_on_device(positions, cell, periodic, cutoff, grid, headroom)
    pairs = neighbor_pairs(positions, cell, periodic, cutoff)
    most = int(np.bincount(pairs.directed()[0]).max(initial=0))
    return grid._replace(pairs=_pairs(len(pairs), headroom), slots=_slots(most, headroom))


def larger_capacity(
    capacity: CellListCapacity, needed: Needed, headroom: float = 1.2
) -> CellListCapacity:
    """Grow what a search has found too small; pairs and slots perhaps once more after the bins.

    Args:
        capacity: what the search had.
        needed: what it found.
        headroom: factor on what has to grow.

    Raises:
        ValueError: no size helps: positions are not finite, the last atom is not padding, or the
            cell has shrunk so far that it needs other bins.
    """
    if not needed.positions:
        raise ValueError(
            "positions are not finite, or so far out that their precision does not resolve "
            "distances: the trajectory has blown up, or must be wrapped into the cell"
        )
    if not needed.padding:
        raise ValueError("the last atom is not padding: make room for one atom more in the graph")
    if not needed.reach:
        raise ValueError(
            f"bins {capacity.bins} no longer reach as far as the cutoff, the cell has shrunk: "
            "make a new capacity by cell_list_capacity from the present structure"
        )
    pairs, slots, per_bin = int(needed.pairs), int(needed.slots), int(needed.per_bin)
    if pairs > capacity.pairs:
        capacity = capacity._replace(pairs=_pairs(pairs - 1, headroom))
    if slots > capacity.slots:
        capacity = capacity._replace(slots=_slots(slots, headroom))
    if per_bin > capacity.per_bin:
        capacity = capacity._replace(per_bin=with_headroom(per_bin, headroom))
    return capacity


def _pairs(pairs: int, headroom: float) -> int:
    return rung(int(pairs * headroom) + 1)


def _slots(slots: int, headroom: float) -> int:
    return -(-rung(int(slots * headroom)) // SLOT_BLOCK) * SLOT_BLOCK


def _counted_on_device(
    positions: np.ndarray,
    cell: np.ndarray,
    periodic: Periodic,
    cutoff: float,
    grid: CellListCapacity,
    headroom: float,
) -> CellListCapacity:
    """Let the search itself count, with room for hardly any pairs."""
    grid = grid._replace(pairs=1, slots=SLOT_BLOCK)
    padded = jnp.asarray(np.concatenate([positions, np.zeros((1, 3))]))
    mask, lattice = jnp.arange(len(padded)) < len(positions), jnp.asarray(cell)
    while True:
        search = jax.jit(partial(device_pairs, pbc=periodic, cutoff=cutoff, capacity=grid))
        grown = larger_capacity(grid, search(padded, mask, lattice).needed, headroom)
        if grown.per_bin == grid.per_bin:
            return grown
        grid = grid._replace(per_bin=grown.per_bin)


def device_pairs(
    positions: Array,
    node_mask: Array,
    cell: Array,
    pbc: Periodic,
    cutoff: float,
    capacity: CellListCapacity,
) -> DevicePairs:
    """Find every pair of atoms, periodic images included, at a distance below the cutoff.

    The edges are those of `neighbor_pairs`, but for pairs whose distance is the cutoff to within
    rounding. Pairs are sorted by their first atom; which of two atoms is first depends on their
    bins. Coincident atoms are a pair like any other. Nothing is differentiated.

    Args:
        positions: (N, 3) Å; may lie outside the cell, shifts refer to them as they are.
        node_mask: (N,) True for real atoms, which come first; the last atom must be padding.
        cell: (3, 3) rows are lattice vectors, Å; rows of open directions are ignored.
        pbc: static, which directions are periodic.
        cutoff: Å, static; the skin included.
        capacity: static, of `cell_list_capacity` for the same pbc and cutoff.

    Raises:
        ValueError: the capacity is for another pbc or cutoff, or too large for 32-bit indices.
    """
    periodic = (bool(pbc[0]), bool(pbc[1]), bool(pbc[2]))
    _check(periodic, cutoff, capacity, positions.shape[0])
    positions, cell = lax.stop_gradient((positions, cell))
    binned = bin_atoms(positions, node_mask, cell, periodic, cutoff, capacity)
    forward = forward_words(binned, periodic, cutoff, capacity)
    backward = backward_words(forward, periodic, capacity)
    found = _count(forward, backward, binned)
    total = jnp.sum(found.degrees, dtype=jnp.int32)
    # More pairs than 32 bits can count still have to be seen as too many.
    countable = jnp.sum(found.degrees.astype(jnp.float32)) < 2**30
    total = jnp.where(countable, total, 2**31 - 2)
    first, second, shifts, slots = _pairs_and_slots(found, binned, total, periodic, capacity)
    real = jnp.arange(capacity.pairs, dtype=jnp.int32) < total
    needed = Needed(
        pairs=total + 1,
        slots=jnp.max(found.degrees + found.arriving),
        per_bin=binned.per_bin,
        reach=binned.reach,
        padding=~node_mask[-1],
        positions=binned.resolved,
    )
    fits = (
        (needed.pairs <= capacity.pairs)
        & (needed.slots <= capacity.slots)
        & (needed.per_bin <= capacity.per_bin)
        & needed.reach
        & needed.padding
        & needed.positions
    )
    return DevicePairs(
        receivers=jnp.concatenate([first, second]),
        senders=jnp.concatenate([second, first]),
        shifts=jnp.concatenate([shifts, -shifts]),
        edge_mask=jnp.concatenate([real, real]),
        slots=slots.reshape(-1, capacity.slots),
        overflow=~fits,
        needed=needed,
    )


def _check(periodic: Periodic, cutoff: float, capacity: CellListCapacity, count: int) -> None:
    for direction, repeats in enumerate(periodic):
        width, reach = capacity.widths[direction], capacity.reach[direction]
        covers = width * reach >= cutoff or reach >= capacity.bins[direction] - 1
        if repeats != (width == 0) or not (repeats or covers):
            raise ValueError(
                f"{capacity} is not for pbc = {periodic} and a cutoff of {cutoff} Å: make it by "
                "cell_list_capacity with the same pbc and cutoff"
            )
    if capacity.slots % SLOT_BLOCK or capacity.pairs < 1:
        raise ValueError(
            f"{capacity} needs at least one pair, and slots must be a multiple of {SLOT_BLOCK}"
        )
    neighbors = len(forward_stencil(capacity.reach))
    words = max((capacity.num_bins + 1) * capacity.rows, count) * neighbors * capacity.words
    sizes = {"edges": 2 * capacity.pairs, "slots": count * capacity.slots, "words": words}
    for what, size in sizes.items():
        if size >= 2**31:
            raise ValueError(f"{size} {what} of {capacity} do not fit 32-bit indices")


def _position_of_bit(words: Array, rank: Array) -> Array:
    """Where in each word the set bit is that has `rank` set bits below it."""
    position = jnp.zeros_like(rank)
    for width in (16, 8, 4, 2, 1):
        low = _ones(words & np.uint32((1 << width) - 1))
        above = rank >= low
        rank = jnp.where(above, rank - low, rank)
        words = jnp.where(above, words >> np.uint32(width), words)
        position = jnp.where(above, position + width, position)
    return position


def _ones(words: Array) -> Array:
    return lax.population_count(words).astype(jnp.int32)


class _Found(NamedTuple):
    """What each of N atoms found, in the order of bins; W words an atom, all flat.

    forward, backward: (N · W,) words of neighbors of which it is the first or second atom.
    starts: (N · W,) number of the first pair of each forward word.
    earlier: (N · W,) slot of the first atom of each backward word.
    degrees: (N,) pairs of which it is the first atom.
    arriving: (N,) pairs of which it is the second atom.
    """

    forward: Array
    backward: Array
    starts: Array
    earlier: Array
    degrees: Array
    arriving: Array


def _count(forward: Array, backward: Array, binned: BinnedAtoms) -> _Found:
    size = forward.shape[2] * forward.shape[3]
    forward = take(forward.reshape(-1, size), binned.places)
    backward = take(backward.reshape(-1, size), binned.places)
    ones, arriving = _ones(forward), _ones(backward)
    degrees = jnp.sum(ones, axis=1, dtype=jnp.int32)
    first = jnp.cumsum(degrees) - degrees
    return _Found(
        forward=forward.reshape(-1),
        backward=backward.reshape(-1),
        starts=(first[:, None] + _before(ones)).reshape(-1),
        earlier=(degrees[:, None] + _before(arriving)).reshape(-1),
        degrees=degrees,
        arriving=jnp.sum(arriving, axis=1, dtype=jnp.int32),
    )


def _before(counts: Array) -> Array:
    """Sum of the entries before each one in its row, (N, W) → (N, W)."""
    # For short rows a product of matrices is several times as fast as a cumulative sum.
    width = counts.shape[1]
    earlier = np.triu(np.ones((width, width), np.float32), 1)
    return full_product(counts.astype(jnp.float32), jnp.asarray(earlier)).astype(jnp.int32)


def _own_slots(found: _Found, binned: BinnedAtoms, capacity: CellListCapacity) -> Array:
    """Slots filled with the pairs of which each atom is the first, (N · K,)."""
    count, last = len(binned.atoms), 2 * capacity.pairs - 1
    order = (
        jnp.zeros(count, jnp.int32)
        .at[binned.atoms]
        .set(jnp.arange(count, dtype=jnp.int32), unique_indices=True)
    )
    first = take(found.starts.reshape(count, -1)[:, 0], order)[:, None]
    k = jnp.arange(capacity.slots, dtype=jnp.int32)
    return jnp.where(k < take(found.degrees, order)[:, None], first + k, last).reshape(-1)


def _pairs_and_slots(
    found: _Found, binned: BinnedAtoms, total: Array, periodic: Periodic, capacity: CellListCapacity
) -> tuple[Array, Array, Array, Array]:
    """First and second atom (P,) and shifts (P, 3) of the pairs, and the slots (N · K,)."""
    count, pairs, slots = len(binned.atoms), capacity.pairs, capacity.slots
    spans = tuple(2 * reach + 1 for reach in capacity.reach)
    neighbors = len(forward_stencil(capacity.reach))
    width = neighbors * capacity.words
    at_a_time = min(pairs, PAIRS_AT_A_TIME)
    # How many words have begun tells the word of a pair.
    begun = jnp.zeros(pairs, jnp.int32).at[found.starts].add(1, mode="drop")
    word_of_pair = jnp.cumsum(begun) - 1

    # A loop even where one pass would do: XLA's CPU backend repeats the work for every result
    # when it fuses them.
    def some_pairs(block: Array, lists: tuple[Array, ...]) -> tuple[Array, ...]:
        start = jnp.minimum(block * at_a_time, pairs - at_a_time).astype(jnp.int32)
        pair = start + jnp.arange(at_a_time, dtype=jnp.int32)
        real = pair < total
        word = lax.dynamic_slice(word_of_pair, (start,), (at_a_time,))
        bit = _position_of_bit(take(found.forward, word), pair - take(found.starts, word))
        i = _divide(word, width)
        step = _divide(word - i * width, capacity.words)
        row_j = (word - i * width - step * capacity.words) * capacity.bits + bit
        place_i = take(binned.places, i)
        bin_i = _divide(place_i, capacity.rows)
        row_i = place_i - bin_i * capacity.rows

        # Steps are numbered as all bins within reach would be, from the bin itself on.
        moved = zip(
            _digits(bin_i, capacity.bins), _digits(step + neighbors - 1, spans), strict=True
        )
        bin_j, images = jnp.zeros_like(word), []
        for direction, (here, move) in enumerate(moved):
            bins, reach = capacity.bins[direction], capacity.reach[direction]
            there, image = here + move - reach, jnp.zeros_like(word)
            if periodic[direction]:
                most = -(-reach // bins)
                image = _divide(there + most * bins, bins) - most
            bin_j = bin_j * bins + there - image * bins
            images.append(image)
        place_j = jnp.where(real, bin_j * capacity.rows + row_j, 0)
        j = jnp.where(real, take(binned.occupants.reshape(-1), place_j), count - 1)

        word_i = _divide(row_i, capacity.bits)
        back = j * width + step * capacity.words + word_i
        below = np.uint32(1) << (row_i - word_i * capacity.bits).astype(jnp.uint32)
        below = take(found.backward, back) & (below - np.uint32(1))
        slot = take(found.earlier, back) + _ones(below)
        shift = jnp.stack(images, axis=-1) + take(binned.wraps, i) - take(binned.wraps, j)
        shift = jnp.where(real[:, None], shift, 0)
        i = jnp.where(real, take(binned.atoms, i), count - 1)
        j = jnp.where(real, take(binned.atoms, j), count - 1)
        slot = jnp.where(real & (slot < slots), j * slots + slot, count * slots)
        first, second, shifts, table = lists
        return (
            lax.dynamic_update_slice_in_dim(first, i, start, 0),
            lax.dynamic_update_slice_in_dim(second, j, start, 0),
            lax.dynamic_update_slice_in_dim(shifts, shift, start, 0),
            table.at[slot].set(pair + pairs, mode="drop"),
        )

    none = jnp.zeros(pairs, jnp.int32)
    lists = (none, none, jnp.zeros((pairs, 3), jnp.int32), _own_slots(found, binned, capacity))
    return lax.fori_loop(0, -(-pairs // at_a_time), some_pairs, lists)


def _digits(number: Array, bases: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Three digits of a number, the last one running fastest."""
    tens = _divide(number, bases[2])
    hundreds = _divide(tens, bases[1])
    return hundreds, tens - hundreds * bases[1], number - tens * bases[2]


def _divide(number: Array, divisor: int) -> Array:
    # Of numbers that are not negative: `//` would spend as long again on signs.
    return lax.div(number, jnp.full((), divisor, number.dtype))
