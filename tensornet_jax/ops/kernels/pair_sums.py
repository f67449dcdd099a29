"""Kernels for what each pair of atoms gives back: derivatives of sums over neighbors.

A program belongs to a pair, or to some, and reads the rows of its two atoms; components, parts and
filters are those of `neighbor_sums`. No atomics, and the same result every time.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.kernels.channel_blocks import channel_width, rounded_up
from tensornet_jax.ops.kernels.launch import Ref, launch
from tensornet_jax.ops.kernels.neighbor_sums import WIDEST, PairFunction, Sizes, values_of_pair
from tensornet_jax.ops.kernels.short_rows import read_row, read_rows, write_row
from tensornet_jax.ops.messages.edge_index import EdgeIndex

NARROW = 32
"""Channels that a program takes at a time where it has functions of the distance, too."""
PAIRS_AT_ONCE = 4
PAIRS_A_GROUP = 64


def pair_cotangents(
    function: PairFunction,
    given: tuple[Array, ...],
    a: Float[Array, "atoms components channels"],
    b: Float[Array, "atoms components channels"],
    edges: EdgeIndex,
    *,
    wanted: int,
    sizes: Sizes,
    interpret: bool,
) -> tuple[Array, ...]:
    """∂f/∂x Σ_c a_ic b_jc + a_jc b_ic by the first things x of a pair; see `pair_filters`."""
    from jax.experimental import pallas as pl

    width, num_pairs, dtype = a.shape[-1], edges.num_pairs, a.dtype
    block, results = channel_width(width, WIDEST), given[:wanted]

    def program(*refs: Ref) -> None:
        own, found = refs[: len(given)], refs[-wanted:]
        first, second, receivers, senders = refs[len(given) : -wanted]
        pair = pl.program_id(0)
        i, j = receivers[pair], senders[pair]
        totals = [jnp.zeros(block, dtype) for _ in results]
        for number in range(width // block):
            channels = pl.ds(number * block, block)
            products = _products(first, second, i, j, channels, sizes)
            for part, product in enumerate(products):
                values = [values_of_pair(ref, pair, part, channels) for ref in own]
                for k, value in enumerate(pulled(function, values, wanted, product)):
                    if len(found[k].shape) > 1:
                        found[k][pair, part, channels] = value
                    else:
                        totals[k] = totals[k] + value
        for ref, total in zip(found, totals, strict=True):
            if len(ref.shape) == 1:
                ref[pair] = jnp.sum(total)

    shapes = tuple(jax.ShapeDtypeStruct(each.shape, dtype) for each in results)
    call = launch(
        program,
        shapes,
        (num_pairs,),
        num_warps=max(1, block // 32),
        interpret=interpret,
        name="pair_cotangents",
    )
    return tuple(call(*given, a, b, edges.receivers, edges.senders))


def pulled(
    function: PairFunction, given: Sequence[Array], wanted: int, cotangent: Array
) -> tuple[Array, ...]:
    """Pull a cotangent of a function back to the first of its arguments, so many as are wanted."""

    def of_wanted(*changing: Array) -> Array:
        return function(*changing, *given[wanted:])

    return jax.vjp(of_wanted, *given[:wanted])[1](cotangent)


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
    first: Ref, second: Ref, i: Array, j: Array, channels: Ref, sizes: Sizes
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
