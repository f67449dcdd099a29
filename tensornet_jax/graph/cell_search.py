"""The search of the neighbor list on the device: atoms in bins, and what each finds, as bits.

Atoms are kept relative to the corner of their bin, so that the vector between two atoms is their
difference plus a constant of the pair of bins. Periodic images, cells smaller than the cutoff and
positions outside the cell need no further thought here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Int32, Shaped, UInt32

from tensornet_jax.graph.cell_grid import (
    OFFSET,
    CellListCapacity,
    Periodic,
    forward_stencil,
    heights,
    inverse_of,
    search_box,
)
from tensornet_jax.graph.neighbors import FARTHEST

# Coordinates, Å, of a place in a bin where there is no atom.
NOWHERE = 1e9
# Å between neighboring numbers of the precision in use; farther out positions mean nothing.
COARSEST = 0.01
# Distances tested at a time: intermediate arrays stay in a CPU's cache.
TESTS_AT_A_TIME = 1 << 20


class BinnedAtoms(NamedTuple):
    """Atoms in the order of their bins; those without a place come last.

    atoms: number of each atom in the structure.
    places: bin · rows + row; the bin behind all others for atoms without a place.
    wraps: lattice vectors by which each atom lies outside the cell.
    occupants: which of these atoms is at each place, the number of atoms if none.
    coordinates: Å, relative to the corner of the bin.
    steps: Å, vectors from a bin to the next along each direction.
    per_bin: atoms in the fullest bin.
    reach: the bins within reach cover the cutoff.
    resolved: all positions are finite and near enough to resolve distances.
    """

    atoms: Int32[Array, " atoms"]
    places: Int32[Array, " atoms"]
    wraps: Int32[Array, "atoms 3"]
    occupants: Int32[Array, "bins+1 rows"]
    coordinates: Float[Array, "3 bins+1 rows"]
    steps: Float[Array, "3 3"]
    per_bin: Int32[Array, ""]
    reach: Bool[Array, ""]
    resolved: Bool[Array, ""]


def bin_atoms(
    positions: Float[Array, "atoms 3"],
    node_mask: Bool[Array, " atoms"],
    cell: Float[Array, "3 3"],
    periodic: Periodic,
    cutoff: float,
    capacity: CellListCapacity,
) -> BinnedAtoms:
    """Sort atoms into bins, under jit; see `device_pairs` for the arguments."""
    counts, opened = np.array(capacity.bins, np.int32), ~np.array(periodic)
    dtype = positions.dtype
    box = search_box(cell.astype(dtype), periodic, jnp)
    inverse = inverse_of(box, jnp)
    farthest = min(FARTHEST, COARSEST / float(jnp.finfo(dtype).eps))
    resolved = jnp.all(jnp.abs(positions) <= farthest, axis=1)
    inside = node_mask & resolved
    positions = jnp.where(inside[:, None], positions, 0)
    positions -= jnp.sum(positions, axis=0) / jnp.maximum(jnp.sum(node_mask), 1).astype(dtype)

    fractions = full_product(positions, inverse)
    fractions += np.where(opened, 0, OFFSET / counts).astype(dtype)
    wraps = jnp.where(opened, 0, jnp.floor(fractions)).astype(jnp.int32)
    lengths = np.where(opened, np.array(capacity.widths) * counts, 1).astype(dtype)
    fractions = (fractions - wraps.astype(dtype)) / lengths + np.where(opened, 0.5, 0).astype(dtype)
    bins = jnp.clip(jnp.floor(fractions * counts.astype(dtype)).astype(jnp.int32), 0, counts - 1)
    steps = box * (lengths / counts.astype(dtype))[:, None]
    relative = positions - full_product(wraps.astype(dtype), box)
    relative -= full_product(bins.astype(dtype), steps)

    numbers = jnp.arange(len(positions), dtype=jnp.int32)
    bin_of_atom = jnp.where(inside, _bin_number(bins, capacity), capacity.num_bins)
    bin_of_atom, atoms = lax.sort_key_val(bin_of_atom, numbers)
    first = lax.cummax(jnp.where(bin_of_atom != jnp.roll(bin_of_atom, 1), numbers, 0))
    real, row = bin_of_atom < capacity.num_bins, numbers - first
    behind = capacity.num_bins * capacity.rows
    places = jnp.where(real & (row < capacity.rows), bin_of_atom * capacity.rows + row, behind)
    occupants = jnp.full(behind, len(numbers), jnp.int32).at[places].set(numbers, mode="drop")
    occupants = jnp.pad(occupants, (0, capacity.rows), constant_values=len(numbers))
    sorted_ = jnp.pad(take(relative, atoms).T, ((0, 0), (0, 1)), constant_values=NOWHERE)
    covered = heights(inverse, jnp) / counts * np.array(capacity.reach)
    slack = 1 + 16 * float(jnp.finfo(dtype).eps) * max(capacity.bins)
    return BinnedAtoms(
        atoms=atoms,
        places=places,
        wraps=take(wraps, atoms),
        occupants=occupants.reshape(-1, capacity.rows),
        coordinates=sorted_[:, occupants].reshape(3, -1, capacity.rows),
        steps=steps,
        per_bin=jnp.max(jnp.where(real, row + 1, 0)),
        # Widths along open directions are static and were checked on the host.
        reach=jnp.all(opened | (covered >= cutoff * slack)),
        resolved=jnp.all(resolved | ~node_mask),
    )


def _bin_number(bins: Int32[Array, "*some 3"], capacity: CellListCapacity) -> Int32[Array, "*some"]:
    """Number of the bin with given numbers along each direction."""
    _, ny, nz = capacity.bins
    return (bins[..., 0] * ny + bins[..., 1]) * nz + bins[..., 2]


def take(table: Shaped[Array, "rows ..."], rows: Int[Array, "..."]) -> Shaped[Array, "..."]:
    """Rows of a table whose numbers are known to be in it."""
    return table.at[rows].get(mode="promise_in_bounds", wrap_negative_indices=False)


def full_product(
    a: Float[Array, "rows inner"], b: Float[Array, "inner columns"]
) -> Float[Array, "rows columns"]:
    """Matrix product whose factors an accelerator does not round to fewer bits."""
    return jnp.matmul(a, b, precision="highest")


def _neighbors(
    bins: Int32[Array, "*some 3"],
    steps: Int32[np.ndarray, "steps 3"],
    periodic: Periodic,
    capacity: CellListCapacity,
) -> Int32[Array, "*some steps"]:
    """Number of the bin at each step; behind all others if outside."""
    counts = np.array(capacity.bins, np.int32)
    there = bins[..., None, :] + steps
    outside = jnp.any(~np.array(periodic) & ((there < 0) | (there >= counts)), axis=-1)
    return jnp.where(outside, capacity.num_bins, _bin_number(there % counts, capacity))


def _by_blocks_of_bins(
    words: Callable[[Array, Array], Array], capacity: CellListCapacity, neighbors: int
) -> Array:
    """Compute (bins, ...) for some bins at a time, the empty bin behind all others included."""
    at_a_time = max(TESTS_AT_A_TIME // (capacity.rows**2 * neighbors), 1)
    blocks = -(-(capacity.num_bins + 1) // at_a_time)
    at_a_time = -(-(capacity.num_bins + 1) // blocks)
    numbers = jnp.arange(blocks * at_a_time, dtype=jnp.int32)
    _, ny, nz = capacity.bins
    bins = jnp.stack([numbers // (ny * nz), numbers // nz % ny, numbers % nz], axis=-1)
    found = lax.map(
        lambda block: words(*block),
        (
            jnp.minimum(numbers, capacity.num_bins).reshape(blocks, at_a_time),
            bins.reshape(blocks, at_a_time, 3),
        ),
    )
    return found.reshape(-1, *found.shape[2:])


def _bits(flags: Bool[Array, "*some bits"]) -> UInt32[Array, "*some"]:
    """Pack the last axis of at most `WORD` flags into words."""
    values = np.left_shift(np.uint32(1), np.arange(flags.shape[-1], dtype=np.uint32))
    return jnp.sum(jnp.where(flags, values, np.uint32(0)), axis=-1, dtype=jnp.uint32)


def forward_words(
    binned: BinnedAtoms,
    periodic: Periodic,
    cutoff: float,
    capacity: CellListCapacity,
) -> UInt32[Array, "bins rows neighbors words"]:
    """Test all distances: which atoms of the bins ahead are neighbors of each atom.

    Returns:
        words with a bit for each row of a bin ahead; of at least one bin more than there are,
        without neighbors.
    """
    stencil = forward_stencil(capacity.reach)
    rows, neighbors = capacity.rows, len(stencil)
    offsets = full_product(jnp.asarray(stencil, binned.steps.dtype), binned.steps)
    ours, step, theirs = (
        lax.broadcasted_iota(jnp.int32, (rows, neighbors, rows), axis) for axis in range(3)
    )
    ahead = (step > 0) | (theirs > ours)
    # A place without an atom is far off on one side as ours and on the other as theirs.
    others = jnp.where(binned.coordinates == NOWHERE, -NOWHERE, binned.coordinates)

    def words(number: Array, bins: Array) -> Array:
        there = _neighbors(bins, stencil, periodic, capacity)
        squares = jnp.zeros((), others.dtype)
        for axis in range(3):
            ahead_of = take(others[axis], there) + offsets[:, axis, None]
            here = take(binned.coordinates[axis], number)
            squares += (ahead_of[:, None] - here[:, :, None, None]) ** 2
        close = (squares < cutoff**2) & ahead
        return _bits(close.reshape(-1, rows, neighbors, capacity.words, capacity.bits))

    return _by_blocks_of_bins(words, capacity, neighbors)


def backward_words(
    forward: UInt32[Array, "bins rows neighbors words"],
    periodic: Periodic,
    capacity: CellListCapacity,
) -> UInt32[Array, "bins rows neighbors words"]:
    """Whose neighbor ahead each atom is: the transpose of the forward words, in their shape."""
    stencil = forward_stencil(capacity.reach)
    rows, neighbors = capacity.rows, len(stencil)
    # (words, 1, S, rows): where their row of the transposed words is in the words of a bin.
    entries = np.arange(neighbors)[:, None] + np.arange(rows) * neighbors
    entries = entries * capacity.words + np.arange(capacity.words)[:, None, None, None]
    ours = np.arange(capacity.bits, dtype=np.uint32)[:, None, None]

    def words(number: Array, bins: Array) -> Array:
        del number
        there = _neighbors(bins, -stencil, periodic, capacity)
        there = there[:, None, None, :, None] * (rows * neighbors * capacity.words)
        theirs = take(forward.reshape(-1), there + entries.astype(np.int32))
        found = (theirs >> ours & np.uint32(1)) != 0
        return _bits(found.reshape(-1, rows, neighbors, capacity.words, capacity.bits))

    return _by_blocks_of_bins(words, capacity, neighbors)
