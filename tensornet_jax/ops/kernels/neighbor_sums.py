"""Kernels for sums over the neighbors of an atom.

A program belongs to one atom and a block of channels: it walks along the atom's slots and keeps its
sums in registers, so that nothing of the size of edges × components × channels is ever written.
Every number is written once, by one program: no atomics, and the same result every time.

Components of atoms are side by side, (N, D, F), and belong to parts of given sizes, (1, 3, 5) in
TensorNet, which have filters of their own: a function of numbers (P, S, F) and (P,) of the pairs,
evaluated here, or combined from R functions b of the pair's distance, f_p = Σ_r b_pr W_r. No filter
is ever written.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.kernels.channel_blocks import channel_width
from tensornet_jax.ops.kernels.launch import Ref, launch
from tensornet_jax.ops.messages.edge_index import EdgeIndex

Sizes = tuple[int, ...]
Filters = list[list[Array]]
"""For each slot at hand, of each part, the filter of some channels."""
PairFunction = Callable[..., Array]
"""Of arrays of equal shapes, one for each thing that pairs have: a filter, number by number."""

WIDEST = 128
"""Channels of a program that sums over neighbors."""
MOST_FUNCTIONS = 64
SLOTS_AT_ONCE = 4
FUNCTIONS_AT_ONCE = 8


class Neighbors(NamedTuple):
    """Who is around each atom, as the kernels read it.

    pairs: (N, K) the pair of each slot.
    senders: (N, K) the atom at its other end.
    counts: (N,) slots up to the last one that is used.
    """

    pairs: Int[Array, "atoms slots"]
    senders: Int[Array, "atoms slots"]
    counts: Int[Array, " atoms"]


def neighbors_of(edges: EdgeIndex) -> Neighbors:
    """Return pairs and senders of the slots of every atom."""
    used = edges.slots != 2 * edges.num_pairs - 1
    places = jnp.arange(1, edges.slots.shape[1] + 1, dtype=edges.slots.dtype)
    return Neighbors(
        edges.slots % edges.num_pairs,
        edges.senders[edges.slots],
        jnp.max(jnp.where(used, places, 0), axis=1),
    )


def convolve(
    function: PairFunction,
    given: tuple[Array, ...],
    features: tuple[Float[Array, "atoms components channels"], ...],
    start: Float[Array, "atoms components channels"] | None,
    edges: EdgeIndex,
    *,
    sizes: Sizes,
    interpret: bool,
) -> tuple[Float[Array, "atoms components channels"], ...]:
    """Σ_j f_p ∘ Y_j of each of some features, the first plus `start`; see `pair_filters`."""

    def filters_of(arrays: Sequence[Ref], pairs: Sequence[Array], channels: Ref) -> Filters:
        own = arrays[: len(given)]
        return [
            [
                function(*(values_of_pair(ref, pair, part, channels) for ref in own))
                for part in range(len(sizes))
            ]
            for pair in pairs
        ]

    return _sum_over_slots(filters_of, given, features, start, edges, sizes, interpret)


def values_of_pair(ref: Ref, pair: Array, part: int, channels: Ref) -> Float[Array, " channels"]:
    """Return what a pair has for a part and some channels; of (P,) the same for all of them."""
    if len(ref.shape) > 1:
        return ref[pair, part, channels]
    return jnp.broadcast_to(ref[pair], (channels.size,))


def convolve_combined(
    basis: Float[Array, "pairs functions"],
    weights: Float[Array, "parts functions channels"],
    features: Float[Array, "atoms components channels"],
    start: Float[Array, "atoms components channels"] | None,
    edges: EdgeIndex,
    *,
    sizes: Sizes,
    interpret: bool,
) -> Float[Array, "atoms components channels"]:
    """Start + Σ_j (b_p W) ∘ Y_j at every atom; see `ops.messages.combined_filters`."""
    functions, parts, block = basis.shape[1], len(sizes), channel_width(weights.shape[-1], WIDEST)

    def filters_of(arrays: Sequence[Ref], pairs: Sequence[Array], channels: Ref) -> Filters:
        given, matrices, *_ = arrays

        def add(known: Filters, first: Array | int, count: int) -> Filters:
            # Each row of a matrix is read once for all slots that are at hand.
            for r in range(count):
                rows = [matrices[part, first + r, channels] for part in range(parts)]
                values = [given[pair, first + r] for pair in pairs]
                known = [
                    [total + value * row for total, row in zip(totals, rows, strict=True)]
                    for totals, value in zip(known, values, strict=True)
                ]
            return known

        def add_some(number: Array, known: Filters) -> Filters:
            return add(known, number * FUNCTIONS_AT_ONCE, FUNCTIONS_AT_ONCE)

        turns, left = divmod(functions, FUNCTIONS_AT_ONCE)
        zero = jnp.zeros(block, basis.dtype)
        found = lax.fori_loop(0, turns, add_some, [[zero] * parts for _ in pairs])
        return add(found, turns * FUNCTIONS_AT_ONCE, left)

    arrays = basis, weights
    return _sum_over_slots(filters_of, arrays, (features,), start, edges, sizes, interpret)[0]


def _sum_over_slots(
    filters_of: Callable[[Sequence[Ref], Sequence[Array], Ref], Filters],
    arrays: tuple[Array, ...],
    features: tuple[Float[Array, "atoms components channels"], ...],
    start: Float[Array, "atoms components channels"] | None,
    edges: EdgeIndex,
    sizes: Sizes,
    interpret: bool,
) -> tuple[Float[Array, "atoms components channels"], ...]:
    from jax.experimental import pallas as pl

    num_atoms, components, width = features[0].shape
    block, dtype = channel_width(width, WIDEST), features[0].dtype
    part_of = [part for part, size in enumerate(sizes) for _ in range(size)]
    places = [(k, c) for k in range(len(features)) for c in range(components)]
    started = () if start is None else (start,)
    first_row = len(arrays) + len(started)

    def program(*refs: Ref) -> None:
        *given, pairs, senders, counts = refs[: -len(features)]
        rows, out = given[first_row:], refs[-len(features) :]
        atom, channels = pl.program_id(0), pl.ds(pl.program_id(1) * block, block)

        def add(turn: Array, total: tuple[Array, ...]) -> tuple[Array, ...]:
            slots = [turn * SLOTS_AT_ONCE + k for k in range(SLOTS_AT_ONCE)]
            filters = filters_of(given, [pairs[atom, slot] for slot in slots], channels)
            for slot, own in zip(slots, filters, strict=True):
                sender = senders[atom, slot]
                total = tuple(
                    known + own[part_of[c]] * rows[k][sender, c, channels]
                    for known, (k, c) in zip(total, places, strict=True)
                )
            return total

        known = tuple(
            given[first_row - 1][atom, c, channels]
            if started and k == 0
            else jnp.zeros(block, dtype)
            for k, c in places
        )
        slots = counts[atom] + (SLOTS_AT_ONCE - 1)
        turns = lax.div(slots, jnp.asarray(SLOTS_AT_ONCE, slots.dtype))
        found = lax.fori_loop(0, turns, add, known)
        for total, (k, c) in zip(found, places, strict=True):
            out[k][atom, c, channels] = total

    call = launch(
        program,
        tuple(jax.ShapeDtypeStruct(each.shape, dtype) for each in features),
        (num_atoms, width // block),
        num_warps=max(1, block // 32),
        interpret=interpret,
        name="messages",
    )
    return tuple(call(*arrays, *started, *features, *neighbors_of(edges)))
