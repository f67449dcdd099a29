"""Kernels for sums over the neighbors of an atom and for what each pair of atoms gives back.

A program of a sum belongs to one atom and a block of channels: it walks along the atom's slots and
keeps its sums in registers, so that nothing of the size of edges × components × channels is ever
written. A program of a pair reads the rows of its two atoms. Every number is written once, by one
program: no atomics, and the same result every time.

Components of atoms are side by side, (N, D, F), and belong to parts of given sizes, (1, 3, 5) in
TensorNet, which have filters of their own: given as (P, S, F), or combined from R functions b of
the pair's distance, f_p = Σ_r b_pr W_r, where not even the filters are written.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.kernels.channel_blocks import channel_width, rounded_up
from tensornet_jax.ops.kernels.launch import Ref, launch
from tensornet_jax.ops.kernels.short_rows import read_row, read_rows, write_row
from tensornet_jax.ops.messages.edge_index import EdgeIndex

Sizes = tuple[int, ...]
Filters = list[list[Array]]
"""For each slot at hand, of each part, the filter of some channels."""

WIDEST = 128
"""Channels of a program that sums over neighbors."""
NARROW = 32
"""Channels that a program of pairs takes at a time where it has functions of the distance, too."""
MOST_FUNCTIONS = 64
SLOTS_AT_ONCE = 4
PAIRS_AT_ONCE = 4
PAIRS_A_GROUP = 64
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


# --- sums over neighbors -------------------------------------------------------------------------


def convolve(
    filters: Float[Array, "pairs parts channels"],
    features: Float[Array, "atoms components channels"],
    start: Float[Array, "atoms components channels"] | None,
    edges: EdgeIndex,
    *,
    sizes: Sizes,
    interpret: bool,
) -> Float[Array, "atoms components channels"]:
    """Start + Σ_j f_p ∘ Y_j at every atom; see `ops.messages.pair_filters`."""

    def filters_of(arrays: Sequence[Ref], pairs: Sequence[Array], channels: Any) -> Filters:
        given, *_ = arrays
        return [[given[pair, part, channels] for part in range(len(sizes))] for pair in pairs]

    return _sum_over_slots(filters_of, (filters,), features, start, edges, sizes, interpret)


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

    def filters_of(arrays: Sequence[Ref], pairs: Sequence[Array], channels: Any) -> Filters:
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

    return _sum_over_slots(filters_of, (basis, weights), features, start, edges, sizes, interpret)


def _sum_over_slots(
    filters_of: Callable[[Sequence[Ref], Sequence[Array], Any], Filters],
    arrays: tuple[Array, ...],
    features: Float[Array, "atoms components channels"],
    start: Float[Array, "atoms components channels"] | None,
    edges: EdgeIndex,
    sizes: Sizes,
    interpret: bool,
) -> Float[Array, "atoms components channels"]:
    from jax.experimental import pallas as pl

    num_atoms, _, width = features.shape
    block = channel_width(width, WIDEST)
    part_of = [part for part, size in enumerate(sizes) for _ in range(size)]

    def program(*refs: Ref) -> None:
        *given, rows, pairs, senders, counts, out = refs
        atom, channels = pl.program_id(0), pl.ds(pl.program_id(1) * block, block)

        def add(turn: Array, total: tuple[Array, ...]) -> tuple[Array, ...]:
            slots = [turn * SLOTS_AT_ONCE + k for k in range(SLOTS_AT_ONCE)]
            filters = filters_of(given, [pairs[atom, slot] for slot in slots], channels)
            for slot, own in zip(slots, filters, strict=True):
                sender = senders[atom, slot]
                total = tuple(
                    known + own[part] * rows[sender, component, channels]
                    for component, (known, part) in enumerate(zip(total, part_of, strict=True))
                )
            return total

        known = tuple(
            jnp.zeros(block, features.dtype)
            if start is None
            else given[-1][atom, component, channels]
            for component in range(len(part_of))
        )
        slots = counts[atom] + (SLOTS_AT_ONCE - 1)
        turns = lax.div(slots, jnp.asarray(SLOTS_AT_ONCE, slots.dtype))
        for component, total in enumerate(lax.fori_loop(0, turns, add, known)):
            out[atom, component, channels] = total

    shape = jax.ShapeDtypeStruct(features.shape, features.dtype)
    call = launch(
        program,
        shape,
        (num_atoms, width // block),
        num_warps=max(1, block // 32),
        interpret=interpret,
        name="messages",
    )
    started = () if start is None else (start,)
    return call(*arrays, *started, features, *neighbors_of(edges))


# --- what pairs give back ------------------------------------------------------------------------


def pair_products(
    a: Float[Array, "atoms components channels"],
    b: Float[Array, "atoms components channels"],
    edges: EdgeIndex,
    *,
    sizes: Sizes,
    interpret: bool,
) -> Float[Array, "pairs parts channels"]:
    """Σ_c a_ic b_jc + a_jc b_ic of every pair and part; see `ops.messages.message`."""
    from jax.experimental import pallas as pl

    width, num_pairs = a.shape[-1], edges.num_pairs
    block = channel_width(width, WIDEST)

    def program(first: Ref, second: Ref, receivers: Ref, senders: Ref, out: Ref) -> None:
        pair, channels = pl.program_id(0), pl.ds(pl.program_id(1) * block, block)
        found = _products(first, second, receivers[pair], senders[pair], channels, sizes)
        for part, values in enumerate(found):
            out[pair, part, channels] = values

    shape = jax.ShapeDtypeStruct((num_pairs, len(sizes), width), a.dtype)
    call = launch(
        program,
        shape,
        (num_pairs, width // block),
        num_warps=1,
        interpret=interpret,
        name="pair_products",
    )
    return call(a, b, edges.receivers, edges.senders)


def combined_overlaps(
    weights: Float[Array, "parts functions channels"],
    a: Float[Array, "atoms components channels"],
    b: Float[Array, "atoms components channels"],
    edges: EdgeIndex,
    *,
    sizes: Sizes,
    interpret: bool,
) -> Float[Array, "pairs functions"]:
    """Σ_F W_rF (a_iF b_jF + a_jF b_iF) of every pair; see `ops.messages.combined_filters`."""
    from jax.experimental import pallas as pl

    width, num_pairs, functions = a.shape[-1], edges.num_pairs, weights.shape[1]
    block, padded = channel_width(width, NARROW), rounded_up(functions)

    def program(
        matrices: Ref, first: Ref, second: Ref, receivers: Ref, senders: Ref, out: Ref
    ) -> None:
        begin = pl.program_id(0) * PAIRS_AT_ONCE
        # Programs at the end may find for the last pair what others find, too.
        pairs = [jnp.minimum(begin + k, num_pairs - 1) for k in range(PAIRS_AT_ONCE)]
        ends = [(receivers[pair], senders[pair]) for pair in pairs]

        def add(number: Array, totals: list[Array]) -> list[Array]:
            channels = pl.ds(number * block, block)
            found = [_products(first, second, i, j, channels, sizes) for i, j in ends]
            for part in range(len(sizes)):
                matrix = read_rows(matrices, part, padded, number * block, block)
                totals = [
                    total + matrix * products[part][None]
                    for total, products in zip(totals, found, strict=True)
                ]
            return totals

        zero = jnp.zeros((padded, block), a.dtype)
        totals = lax.fori_loop(0, width // block, add, [zero] * PAIRS_AT_ONCE)
        for pair, total in zip(pairs, totals, strict=True):
            write_row(out, (pair,), jnp.sum(total, axis=1))

    shape = jax.ShapeDtypeStruct((num_pairs, functions), a.dtype)
    grid = (pl.cdiv(num_pairs, PAIRS_AT_ONCE),)
    call = launch(program, shape, grid, num_warps=4, interpret=interpret, name="filter_overlaps")
    return call(weights, a, b, edges.receivers, edges.senders)


def combined_weights(
    basis: Float[Array, "pairs functions"],
    a: Float[Array, "atoms components channels"],
    b: Float[Array, "atoms components channels"],
    edges: EdgeIndex,
    *,
    sizes: Sizes,
    interpret: bool,
) -> Float[Array, "parts functions channels"]:
    """Σ_p b_pr (a_iF b_jF + a_jF b_iF); see `ops.messages.combined_filters`.

    Pairs are summed in groups, and the groups by XLA.
    """
    from jax.experimental import pallas as pl

    num_pairs, functions = basis.shape
    width, parts, block = a.shape[-1], len(sizes), channel_width(a.shape[-1], NARROW)
    groups, padded = -(-num_pairs // PAIRS_A_GROUP), rounded_up(functions)

    def program(
        values: Ref, first: Ref, second: Ref, receivers: Ref, senders: Ref, out: Ref
    ) -> None:
        group, channels = pl.program_id(0), pl.ds(pl.program_id(1) * block, block)
        begin = group * PAIRS_A_GROUP

        def add(pair: Array, total: tuple[Array, ...]) -> tuple[Array, ...]:
            found = _products(first, second, receivers[pair], senders[pair], channels, sizes)
            given = read_row(values, (pair,), padded)[:, None]
            return tuple(
                known + given * product[None] for known, product in zip(total, found, strict=True)
            )

        zero = (jnp.zeros((padded, block), a.dtype),) * parts
        end = jnp.minimum(begin + PAIRS_A_GROUP, num_pairs)
        for part, total in enumerate(lax.fori_loop(begin, end, add, zero)):
            out[group, part, :, channels] = total

    shape = jax.ShapeDtypeStruct((groups, parts, padded, width), a.dtype)
    call = launch(
        program,
        shape,
        (groups, width // block),
        num_warps=4,
        interpret=interpret,
        name="filter_weights",
    )
    found = jnp.sum(call(basis, a, b, edges.receivers, edges.senders), axis=0)
    return found[:, :functions]


def _products(
    first: Ref, second: Ref, i: Array, j: Array, channels: Any, sizes: Sizes
) -> list[Array]:
    """Σ_c a_ic b_jc + a_jc b_ic over the components of each part."""
    found, begin = [], 0
    for size in sizes:
        terms = [
            first[i, c, channels] * second[j, c, channels]
            + first[j, c, channels] * second[i, c, channels]
            for c in range(begin, begin + size)
        ]
        found.append(sum(terms[1:], terms[0]))
        begin += size
    return found
