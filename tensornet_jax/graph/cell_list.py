"""Neighbor list on the device, under jit: the host list's edges in arrays of static size.

Atoms are sorted into bins and distances are tested for half of the neighboring bins, each pair of
atoms once. What is found is kept as one bit: a row of words for each atom. All else is counting
bits. Nothing is compacted, no sum depends on a race, and rounding cannot make the two directions of
a pair disagree. Work and memory are linear in the atoms but for one sort of their bin numbers.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32

from tensornet_jax.graph.cell_grid import CellListCapacity, Periodic, forward_stencil
from tensornet_jax.graph.cell_pairs import Listed, count_bits, list_pairs
from tensornet_jax.graph.cell_search import backward_words, bin_atoms, forward_words
from tensornet_jax.ops.messages.message import SLOT_BLOCK


class Needed(NamedTuple):
    """What a capacity must hold; pairs and slots are too few where a bin or the reach overflows.

    pairs: one padding pair included.
    slots: edges arriving at the atom that has most.
    per_bin: atoms in the fullest bin.
    reach: the bins within reach cover the cutoff: the cell has not shrunk too far.
    padding: the last atom is padding.
    positions: all positions are finite and near enough to resolve distances.
    """

    pairs: Int32[Array, ""]
    slots: Int32[Array, ""]
    per_bin: Int32[Array, ""]
    reach: Bool[Array, ""]
    padding: Bool[Array, ""]
    positions: Bool[Array, ""]


class DevicePairs(NamedTuple):
    """Edges of a structure as `AtomGraph` has them.

    receivers, senders: the atoms of E edges; edge e + E/2 is the reverse of edge e.
    shifts: the vector of an edge is r_j + shifts @ cell − r_i.
    edge_mask: False for padding, which connects the last atom with itself.
    slots: edges arriving at each atom; unused slots name the last edge.
    overflow: something did not fit and the arrays must not be used.
    needed: what would fit.
    """

    receivers: Int32[Array, " edges"]
    senders: Int32[Array, " edges"]
    shifts: Int32[Array, "edges 3"]
    edge_mask: Bool[Array, " edges"]
    slots: Int32[Array, "atoms slots"]
    overflow: Bool[Array, ""]
    needed: Needed


def device_pairs(
    positions: Float[Array, "atoms 3"],
    node_mask: Bool[Array, " atoms"],
    cell: Float[Array, "3 3"],
    pbc: Periodic,
    cutoff: float,
    capacity: CellListCapacity,
) -> DevicePairs:
    """Find every pair of atoms, periodic images included, at a distance below the cutoff.

    The edges are those of `neighbor_pairs`, but for pairs whose distance is the cutoff to within
    rounding. Pairs are sorted by their first atom; which of two atoms is first depends on their
    bins. Coincident atoms are a pair like any other. Nothing is differentiated.

    Args:
        positions: Å; may lie outside the cell, shifts refer to them as they are.
        node_mask: True for real atoms, which come first; the last atom must be padding.
        cell: rows are lattice vectors, Å; rows of open directions are ignored.
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
    found = count_bits(forward, backward, binned)
    total = jnp.sum(found.degrees, dtype=jnp.int32)
    # More pairs than 32 bits can count still have to be seen as too many.
    countable = jnp.sum(found.degrees.astype(jnp.float32)) < 2**30
    total = jnp.where(countable, total, 2**31 - 2)
    listed = list_pairs(found, binned, total, periodic, capacity)
    real = jnp.arange(capacity.pairs, dtype=jnp.int32) < total
    needed = Needed(
        pairs=total + 1,
        slots=jnp.max(found.degrees + found.arriving),
        per_bin=binned.per_bin,
        reach=binned.reach,
        padding=~node_mask[-1],
        positions=binned.resolved,
    )
    return _as_edges(listed, real, needed, capacity)


def _as_edges(
    listed: Listed, real: Bool[Array, " pairs"], needed: Needed, capacity: CellListCapacity
) -> DevicePairs:
    fits = (
        (needed.pairs <= capacity.pairs)
        & (needed.slots <= capacity.slots)
        & (needed.per_bin <= capacity.per_bin)
        & needed.reach
        & needed.padding
        & needed.positions
    )
    return DevicePairs(
        receivers=jnp.concatenate([listed.first, listed.second]),
        senders=jnp.concatenate([listed.second, listed.first]),
        shifts=jnp.concatenate([listed.shifts, -listed.shifts]),
        edge_mask=jnp.concatenate([real, real]),
        slots=listed.slots.reshape(-1, capacity.slots),
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
