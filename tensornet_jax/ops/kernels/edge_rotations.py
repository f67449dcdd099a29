"""Kernels for features of atoms in frames of edges: gather, rotate and scale in one go, and back.

They compute the functions of `ops.rotations.edge_features`, which has the formulas. Programs take
a few edges, or one atom, and one degree; each component is a tile of (edges, channels) in
registers.
"""

from collections.abc import Iterable
from functools import reduce
from operator import add

import jax.numpy as jnp
from jax import Array, lax

from tensornet_jax.ops.kernels.edge_blocks import (
    EDGES,
    call,
    edges_of_program,
    grid,
    one_each,
    program,
    span,
)
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout, Orders

_NEIGHBORS = 4
"""Neighbors that a sum takes at once; the number of slots is a multiple of it."""


def to_edges(
    layout: EdgeLayout,
    features: Array,
    weights: Array | None,
    matrices: Array,
    edges: EdgeIndex,
    *,
    interpret: bool,
) -> Orders:
    """See `edge_features.to_edges`."""
    channels, num_edges = features.shape[-1], matrices.shape[-1]

    def kernel(x, w, d, receivers, senders, *out) -> None:
        block, end = edges_of_program(num_edges), program(1)
        lanes = span(end * channels, channels)
        atoms = receivers[block]
        if layout.ends == 2:
            atoms = jnp.where(end == 0, atoms, senders[block])

        def turn(degree: int) -> None:
            parts = [x[atoms, c, :] for c in layout.components(degree)]
            scale = None if weights is None else w[block, degree, lanes]
            for order in layout.orders(degree):
                row = [d[k, block][:, None] for k in layout.entries(degree, order)]
                value = _sum(a * b for a, b in zip(row, parts, strict=True))
                array, sign, place = layout.place(degree, order)
                out[array][block, sign, place, lanes] = value if scale is None else value * scale

        one_each(2, layout.degrees, turn)

    shapes = layout.shapes(num_edges, channels)
    programs = (grid(num_edges), layout.ends, len(layout.degrees))
    run = call(kernel, programs, shapes, features.dtype, interpret)
    return tuple(run(features, weights, matrices, edges.receivers, edges.senders))


def to_atoms(
    layout: EdgeLayout,
    weights: Array | None,
    matrices: Array,
    messages: Orders,
    edges: EdgeIndex,
    *,
    interpret: bool,
) -> Array:
    """See `edge_features.to_atoms`."""
    num_edges = matrices.shape[-1]
    channels = messages[0].shape[-1] // layout.ends
    num_atoms, num_slots = edges.slots.shape
    dtype, padding = matrices.dtype, num_edges - 1

    def kernel(slots, w, d, *refs) -> None:
        *g, out = refs
        atom = program(0)

        def total(degree: int) -> None:
            components = layout.components(degree)

            def add_neighbors(turn: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
                # A loop, not both ends written out, which take the compiler four times as long.
                end = lax.rem(turn, jnp.asarray(layout.ends, turn.dtype))
                first = lax.div(turn, jnp.asarray(layout.ends, turn.dtype)) * _NEIGHBORS
                block = slots[atom, span(first, _NEIGHBORS)]
                scale = (block != padding).astype(dtype)[:, None]
                half = jnp.asarray(num_edges // 2, block.dtype)
                reverse = jnp.where(block < half, block + half, block - half)
                block = jnp.where(end == 0, block, reverse)
                lanes = span(end * channels, channels)
                if weights is not None:
                    scale = scale * w[block, degree, lanes]
                for order in layout.orders(degree):
                    array, sign, place = layout.place(degree, order)
                    value = g[array][block, sign, place, lanes] * scale
                    row = [d[k, block][:, None] for k in layout.entries(degree, order)]
                    totals = tuple(a + b * value for a, b in zip(totals, row, strict=True))
                return totals

            zero = jnp.zeros((_NEIGHBORS, channels), dtype)
            turns = num_slots // _NEIGHBORS * layout.ends
            totals = lax.fori_loop(0, turns, add_neighbors, (zero,) * len(components))
            for c, found in zip(components, totals, strict=True):
                out[atom, c, :] = jnp.sum(found, axis=0)

        one_each(1, layout.degrees, total)

    shape = (num_atoms, layout.num_components, channels)
    run = call(kernel, (num_atoms, len(layout.degrees)), (shape,), dtype, interpret)
    return run(edges.slots, weights, matrices, *messages)[0]


def cotangents(
    layout: EdgeLayout,
    features: Array,
    weights: Array | None,
    matrices: Array,
    messages: Orders,
    edges: EdgeIndex,
    *,
    interpret: bool,
) -> tuple[Array | None, Array]:
    """See `edge_features.cotangents`."""
    channels, num_edges = features.shape[-1], matrices.shape[-1]

    def kernel(x, w, d, receivers, senders, *refs) -> None:
        g, out = refs[: layout.m_max + 1], refs[layout.m_max + 1 :]
        block = edges_of_program(num_edges)
        ends = [span(end * channels, channels) for end in range(layout.ends)]
        atoms = [receivers[block], senders[block]][: layout.ends]

        def overlap(degree: int) -> None:
            parts = [[x[a, c, :] for a in atoms] for c in layout.components(degree)]
            scales = [] if weights is None else [w[block, degree, end] for end in ends]
            of_weights = [jnp.zeros((EDGES, channels), features.dtype)] * len(scales)
            for order in layout.orders(degree):
                array, sign, place = layout.place(degree, order)
                own = [g[array][block, sign, place, end] for end in ends]
                entries = layout.entries(degree, order)
                for end, scale in enumerate(scales):
                    row = [d[k, block][:, None] for k in entries]
                    turned = _sum(a * b[end] for a, b in zip(row, parts, strict=True))
                    of_weights[end] += own[end] * turned
                    own[end] *= scale
                for k, part in zip(entries, parts, strict=True):
                    product = _sum(a * b for a, b in zip(own, part, strict=True))
                    out[0][k, block] = jnp.sum(product, axis=1)
            for end, value in zip(ends, of_weights, strict=False):
                out[1][block, degree, end] = value

        one_each(1, layout.degrees, overlap)

    shapes = [matrices.shape] if weights is None else [matrices.shape, weights.shape]
    programs = (grid(num_edges), len(layout.degrees))
    run = call(kernel, programs, shapes, features.dtype, interpret)
    found = run(features, weights, matrices, edges.receivers, edges.senders, *messages)
    return (None if weights is None else found[1]), found[0]


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(add, terms)
