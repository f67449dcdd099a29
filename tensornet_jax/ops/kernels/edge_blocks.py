"""What kernels for features of edges share: a program takes a few edges and all channels."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array

from tensornet_jax.ops.kernels.choice import for_gpu
from tensornet_jax.ops.kernels.launch import launch

if TYPE_CHECKING:
    import jax.experimental.pallas as pl

EDGES = 8
"""Edges of one program."""

_MOST_CHANNELS = 256


def fits(num_edges: int, channels: int, *arrays: Array) -> bool:
    """Tell whether kernels take so many edges and channels, of arrays whose sizes are numbers."""
    if not for_gpu(*arrays) or num_edges < EDGES:
        return False
    return channels & (channels - 1) == 0 and channels <= _MOST_CHANNELS


def grid(num_edges: int) -> int:
    """Number of programs for all edges."""
    return -(-num_edges // EDGES)


def edges_of_program(num_edges: int) -> "slice | pl.Slice":
    """The edges of a program; the last two may share some, for which they find the same."""
    return span(jnp.minimum(program(0) * EDGES, num_edges - EDGES), EDGES)


def program(axis: int) -> Array:
    """Number of the program along an axis of the grid."""
    import jax.experimental.pallas as pl

    return pl.program_id(axis)


def one_each(axis: int, numbers: Iterable[int], body: Callable[[int], None]) -> None:
    """Run in each program the body for its number along an axis of the grid, one of those given."""
    import jax.experimental.pallas as pl

    for number in numbers:
        pl.when(pl.program_id(axis) == number)(partial(body, number))


def span(start: Array | int, size: int) -> "slice | pl.Slice":
    """Indices from `start` on."""
    import jax.experimental.pallas as pl

    return pl.ds(start, size)


def call(
    kernel: Callable[..., None],
    programs: tuple[int, ...],
    shapes: Iterable[tuple[int, ...]],
    dtype: jnp.dtype,
    interpret: bool,
) -> Callable[..., list[Array]]:
    """A kernel as a function of arrays; the second of them may be None, and then is so inside.

    Args:
        kernel: function of references, to all of each array: those that go in and come out.
        programs: the grid.
        shapes: of the arrays that come out.
        dtype: of the same.
        interpret: run it as Pallas interprets it.
    """

    def run(first: Array, second: Array | None, *others: Array) -> list[Array]:
        given = [] if second is None else [second]

        def body(ref: Array, *refs: Array) -> None:
            kernel(ref, *refs) if given else kernel(ref, None, *refs)

        found = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
        run_body = launch(
            body, found, programs, num_warps=4, interpret=interpret, name=kernel.__name__.strip("_")
        )
        return run_body(first, *given, *others)

    return run
