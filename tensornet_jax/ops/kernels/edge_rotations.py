"""Kernels for features of atoms in frames of edges: gather, rotate and scale in one go, and back.

They compute the functions of `ops.rotations.edge_features`, which has the formulas. The edges of a
program are a few; each component of theirs is a tile of (edges, channels) in registers.
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
        for degree in layout.degrees:
            parts = [x[atoms, c, :] for c in layout.components(degree)]
            scale = None if weights is None else w[block, degree, lanes]
            for order in layout.orders(degree):
                row = [d[k, block][:, None] for k in layout.entries(degree, order)]
                value = _sum(a * b for a, b in zip(row, parts, strict=True))
                array, sign, place = layout.place(degree, order)
                out[array][block, sign, place, lanes] = value if scale is None else value * scale

    shapes = layout.shapes(num_edges, channels)
    run = call(kernel, (grid(num_edges), layout.ends), shapes, features.dtype, interpret)
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

        def add_neighbors(turn: Array, totals: tuple[Array, ...]) -> tuple[Array, ...]:
            found = list(totals)
            arriving = slots[atom, span(turn * _NEIGHBORS, _NEIGHBORS)]
            used = (arriving != padding).astype(dtype)
            half = jnp.asarray(num_edges // 2, arriving.dtype)
            leaving = jnp.where(arriving < half, arriving + half, arriving - half)
            for end, block in enumerate((arriving, leaving)[: layout.ends]):
                lanes = span(end * channels, channels)
                for degree in layout.degrees:
                    scale = None if weights is None else w[block, degree, lanes]
                    for order in layout.orders(degree):
                        array, sign, place = layout.place(degree, order)
                        value = g[array][block, sign, place, lanes]
                        value = value if scale is None else value * scale
                        entries = layout.entries(degree, order)
                        for c, k in zip(layout.components(degree), entries, strict=True):
                            found[c] += (d[k, block] * used)[:, None] * value
            return tuple(found)

        zero = jnp.zeros((_NEIGHBORS, channels), dtype)
        totals = (zero,) * layout.num_components
        totals = lax.fori_loop(0, num_slots // _NEIGHBORS, add_neighbors, totals)
        for c, total in enumerate(totals):
            out[atom, c, :] = jnp.sum(total, axis=0)

    shape = (num_atoms, layout.num_components, channels)
    run = call(kernel, (num_atoms,), (shape,), dtype, interpret)
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
        for degree in layout.degrees:
            parts = [[x[a, c, :] for a in atoms] for c in layout.components(degree)]
            scales = [None if weights is None else w[block, degree, end] for end in ends]
            of_weights = [jnp.zeros((EDGES, channels), features.dtype)] * layout.ends
            for order in layout.orders(degree):
                array, sign, place = layout.place(degree, order)
                own = [g[array][block, sign, place, end] for end in ends]
                entries = layout.entries(degree, order)
                if weights is not None:
                    row = [d[k, block][:, None] for k in entries]
                    for end, value in enumerate(own):
                        turned = _sum(a * b[end] for a, b in zip(row, parts, strict=True))
                        of_weights[end] += value * turned
                    own = [a * b for a, b in zip(own, scales, strict=True)]
                for k, part in zip(entries, parts, strict=True):
                    product = _sum(a * b for a, b in zip(own, part, strict=True))
                    out[0][k, block] = jnp.sum(product, axis=1)
            if weights is not None:
                for end, value in zip(ends, of_weights, strict=True):
                    out[1][block, degree, end] = value

    shapes = [matrices.shape] if weights is None else [matrices.shape, weights.shape]
    run = call(kernel, (grid(num_edges),), shapes, features.dtype, interpret)
    found = run(features, weights, matrices, edges.receivers, edges.senders, *messages)
    return (None if weights is None else found[1]), found[0]


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(add, terms)
