"""Kernels that multiply features of edges by factors of their degrees; see `ops.so2.scaling`."""

import jax.numpy as jnp
from jax import Array

from tensornet_jax.ops.kernels.edge_blocks import EDGES, call, edges_of_program, grid
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout, Orders


def scale_degrees(layout: EdgeLayout, messages: Orders, factors: Array, *, interpret: bool):
    """See `scaling.scale_degrees`."""
    num_edges, num_arrays = len(factors), len(messages)

    def kernel(q, _, *refs) -> None:
        p, out = refs[:num_arrays], refs[num_arrays:]
        block = edges_of_program(num_edges)
        for degree in layout.degrees:
            factor = q[block, degree, :]
            for order in layout.orders(degree):
                array, sign, row = layout.place(degree, order)
                out[array][block, sign, row, :] = p[array][block, sign, row, :] * factor

    shapes = [part.shape for part in messages]
    run = call(kernel, (grid(num_edges),), shapes, factors.dtype, interpret)
    return tuple(run(factors, None, *messages))


def cotangents(
    layout: EdgeLayout, messages: Orders, factors: Array, others: Orders, *, interpret: bool
) -> tuple[Orders, Array]:
    """See `scaling.cotangents`."""
    num_edges, num_arrays = len(factors), len(messages)

    def kernel(q, _, *refs) -> None:
        p, g = refs[:num_arrays], refs[num_arrays : 2 * num_arrays]
        *out, of_factors = refs[2 * num_arrays :]
        block = edges_of_program(num_edges)
        for degree in layout.degrees:
            factor = q[block, degree, :]
            total = jnp.zeros((EDGES, factors.shape[-1]), factors.dtype)
            for order in layout.orders(degree):
                array, sign, row = layout.place(degree, order)
                value = g[array][block, sign, row, :]
                out[array][block, sign, row, :] = value * factor
                total += value * p[array][block, sign, row, :]
            of_factors[block, degree, :] = total

    shapes = [*(part.shape for part in messages), factors.shape]
    run = call(kernel, (grid(num_edges),), shapes, factors.dtype, interpret)
    *of_messages, of_factors = run(factors, None, *messages, *others)
    return tuple(of_messages), of_factors
