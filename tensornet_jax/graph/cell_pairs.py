"""From the bits that the search of the device's neighbor list has set to pairs and slots.

The p-th pair is the k-th bit of a word; which of the second atom's slots it fills is told by the
number of bits before its own in that atom's row of the transposed words.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Int32, UInt32

from tensornet_jax.graph.cell_grid import CellListCapacity, Periodic, forward_stencil
from tensornet_jax.graph.cell_search import BinnedAtoms, full_product, take

# Pairs written at a time: intermediate arrays stay in a CPU's cache.
PAIRS_AT_A_TIME = 1 << 16


class Listed(NamedTuple):
    """Pairs of atoms, and the edges that arrive at each atom.

    first, second: the atoms of a pair; padding pairs have the last atom twice.
    shifts: the vector of a pair is r_second + shifts @ cell − r_first.
    slots: atom by atom; unused ones name the last edge.
    """

    first: Int32[Array, " pairs"]
    second: Int32[Array, " pairs"]
    shifts: Int32[Array, "pairs 3"]
    slots: Int32[Array, " atoms*slots"]


class FoundBits(NamedTuple):
    """What each of N atoms found, in the order of bins; words lie flat, atom by atom.

    forward, backward: words of neighbors of which it is the first or second atom.
    starts: number of the first pair of each forward word.
    earlier: slot of the first atom of each backward word.
    degrees: pairs of which it is the first atom.
    arriving: pairs of which it is the second atom.
    """

    forward: UInt32[Array, " atoms*words"]
    backward: UInt32[Array, " atoms*words"]
    starts: Int32[Array, " atoms*words"]
    earlier: Int32[Array, " atoms*words"]
    degrees: Int32[Array, " atoms"]
    arriving: Int32[Array, " atoms"]


def count_bits(
    forward: UInt32[Array, "bins rows neighbors words"],
    backward: UInt32[Array, "bins rows neighbors words"],
    binned: BinnedAtoms,
) -> FoundBits:
    """Count the bits that the search has set.

    Args:
        forward: of `forward_words`.
        backward: of `backward_words`.
        binned: the atoms that were searched.
    """
    size = forward.shape[2] * forward.shape[3]
    forward = take(forward.reshape(-1, size), binned.places)
    backward = take(backward.reshape(-1, size), binned.places)
    ones, arriving = _ones(forward), _ones(backward)
    degrees = jnp.sum(ones, axis=1, dtype=jnp.int32)
    first = jnp.cumsum(degrees) - degrees
    return FoundBits(
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


def list_pairs(
    found: FoundBits,
    binned: BinnedAtoms,
    total: Int32[Array, ""],
    periodic: Periodic,
    capacity: CellListCapacity,
) -> Listed:
    """Write down the pairs.

    Args:
        found: of `count_bits`.
        binned: the atoms that were searched.
        total: number of pairs; those for which there is no room are left out.
        periodic: which directions repeat.
        capacity: sizes of the arrays.
    """
    pairs = capacity.pairs
    at_a_time = min(pairs, PAIRS_AT_A_TIME)
    # How many words have begun tells the word of a pair.
    begun = jnp.zeros(pairs, jnp.int32).at[found.starts].add(1, mode="drop")
    word_of_pair = jnp.cumsum(begun) - 1

    # A loop even where one pass would do: XLA's CPU backend repeats the work for every result
    # when it fuses them.
    def some_pairs(block: Array, lists: Listed) -> Listed:
        start = jnp.minimum(block * at_a_time, pairs - at_a_time).astype(jnp.int32)
        pair = start + jnp.arange(at_a_time, dtype=jnp.int32)
        word = lax.dynamic_slice(word_of_pair, (start,), (at_a_time,))
        some = _read(found, binned, pair, word, pair < total, periodic, capacity)
        return Listed(
            lax.dynamic_update_slice_in_dim(lists.first, some.first, start, 0),
            lax.dynamic_update_slice_in_dim(lists.second, some.second, start, 0),
            lax.dynamic_update_slice_in_dim(lists.shifts, some.shifts, start, 0),
            lists.slots.at[some.slots].set(pair + pairs, mode="drop"),
        )

    none = jnp.zeros(pairs, jnp.int32)
    own = _own_slots(found, binned, capacity)
    lists = Listed(none, none, jnp.zeros((pairs, 3), jnp.int32), own)
    return lax.fori_loop(0, -(-pairs // at_a_time), some_pairs, lists)


def _read(
    found: FoundBits,
    binned: BinnedAtoms,
    pair: Int32[Array, " some"],
    word: Int32[Array, " some"],
    real: Bool[Array, " some"],
    periodic: Periodic,
    capacity: CellListCapacity,
) -> Listed:
    """Return some pairs with the place that each has among the slots of its second atom."""
    count, slots = len(binned.atoms), capacity.slots
    neighbors = len(forward_stencil(capacity.reach))
    width = neighbors * capacity.words
    bit = _position_of_bit(take(found.forward, word), pair - take(found.starts, word))
    i = _divide(word, width)
    step = _divide(word - i * width, capacity.words)
    row_j = (word - i * width - step * capacity.words) * capacity.bits + bit
    place_i = take(binned.places, i)
    bin_i = _divide(place_i, capacity.rows)
    row_i = place_i - bin_i * capacity.rows

    bin_j, images = _bin_ahead(bin_i, step, periodic, capacity)
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
    return Listed(i, j, shift, slot)


def _bin_ahead(
    bin_i: Int32[Array, " some"],
    step: Int32[Array, " some"],
    periodic: Periodic,
    capacity: CellListCapacity,
) -> tuple[Int32[Array, " some"], list[Int32[Array, " some"]]]:
    """Return the bin that is some steps of the stencil ahead, and in which image it is."""
    a, b, c = capacity.reach
    spans = (2 * a + 1, 2 * b + 1, 2 * c + 1)
    neighbors = len(forward_stencil(capacity.reach))
    # Steps are numbered as all bins within reach would be, from the bin itself on.
    moved = zip(_digits(bin_i, capacity.bins), _digits(step + neighbors - 1, spans), strict=True)
    bin_j, images = jnp.zeros_like(step), []
    for direction, (here, move) in enumerate(moved):
        bins, reach = capacity.bins[direction], capacity.reach[direction]
        there, image = here + move - reach, jnp.zeros_like(step)
        if periodic[direction]:
            most = -(-reach // bins)
            image = _divide(there + most * bins, bins) - most
        bin_j = bin_j * bins + there - image * bins
        images.append(image)
    return bin_j, images


def _own_slots(
    found: FoundBits, binned: BinnedAtoms, capacity: CellListCapacity
) -> Int32[Array, " atoms*slots"]:
    """Slots filled with the pairs of which each atom is the first."""
    count, last = len(binned.atoms), 2 * capacity.pairs - 1
    order = (
        jnp.zeros(count, jnp.int32)
        .at[binned.atoms]
        .set(jnp.arange(count, dtype=jnp.int32), unique_indices=True)
    )
    first = take(found.starts.reshape(count, -1)[:, 0], order)[:, None]
    k = jnp.arange(capacity.slots, dtype=jnp.int32)
    return jnp.where(k < take(found.degrees, order)[:, None], first + k, last).reshape(-1)


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


def _digits(number: Array, bases: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    """Three digits of a number, the last one running fastest."""
    tens = _divide(number, bases[2])
    hundreds = _divide(tens, bases[1])
    return hundreds, tens - hundreds * bases[1], number - tens * bases[2]


def _divide(number: Array, divisor: int) -> Array:
    # Of numbers that are not negative: `//` would spend as long again on signs.
    return lax.div(number, jnp.full((), divisor, number.dtype))
