"""A block: steps of an integrator in a loop of known length; see `tensornet_jax.md.blocks`."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int32

from tensornet_jax.md.draws import draw_ahead
from tensornet_jax.md.engines.chunk import (
    Carry,
    Inputs,
    Loop,
    Measured,
    Program,
    first_report,
    measured_of,
)
from tensornet_jax.md.engines.packing import Packing
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.limits import Report
from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.output.records import Buffer
from tensornet_jax.md.state import State, System

Numbers: TypeAlias = Float[Array, " numbers"]
"""The last good state and the report of the step tried last, packed."""


class Block(NamedTuple):
    """What a block leaves.

    numbers: state and report.
    progress: status of the report, and number of the last good step.
    left: Å the lists have left.
    buffer: what was recorded.
    """

    numbers: Numbers
    progress: Int32[Array, "2"]
    left: Float[Array, " structures"]
    buffer: Buffer | None


def packing_of(state: State) -> Packing[tuple[State, Report]]:
    """Return how state and report of a simulation are packed."""
    like = jax.eval_shape(lambda state: (state, first_report(state)), state)
    return Packing.of(like, state.positions.dtype)


@partial(jax.jit, static_argnames="packing")
def packed_start(packing: Packing[tuple[State, Report]], state: State) -> Numbers:
    """Return a state packed with the report before the first step."""
    return packing.pack((state, first_report(state)))


@partial(jax.jit, static_argnames="packing")
def unpacked(packing: Packing[tuple[State, Report]], numbers: Numbers) -> tuple[State, Report]:
    """Return state and report."""
    return packing.unpack(numbers)


@jax.jit
def measured_now(integrator: Integrator, system: System, state: State) -> Measured:
    """Return the scalars of a state."""
    return measured_of(integrator, system, state)


@partial(jax.jit, static_argnames=("program", "packing"), donate_argnames="numbers")
def run_block(
    program: Program,
    packing: Packing[tuple[State, Report]],
    inputs: Inputs,
    integrator: Integrator,
    numbers: Numbers,
    neighbors: Neighbors,
    until: Int32[Array, ""],
) -> Block:
    """Take the steps of a block, to the last one wanted or possible, or to a full buffer.

    Args:
        program: what is fixed.
        packing: of `packing_of`.
        inputs: what no step changes.
        integrator: takes the steps.
        numbers: the start; its memory is used again.
        neighbors: the lists.
        until: number of the last step.
    """
    # Python runs this only while JAX traces.
    program.compiled.append(None)
    assert program.turns is not None
    state, _ = packing.unpack(numbers)
    dtype = state.positions.dtype
    ahead = draw_ahead(integrator.draws, inputs.system, state.step, program.turns, dtype)
    inputs = inputs._replace(system=replace(inputs.system, ahead=ahead))
    loop = Loop(program, inputs, integrator, neighbors, until)
    # What the compiler knows not to change takes no kernel.
    cell = None if integrator.changes_cell else state.cell

    # A turn changes nothing but the report where no step is wanted, and where its step cannot be
    # taken: the next turn tries the same step and reports the same.
    def turn(_: Array, carried: tuple[Numbers, Buffer | None]) -> tuple[Numbers, Buffer | None]:
        state, report = packing.unpack(carried[0])
        if cell is not None:
            state = state.replace(cell=cell)
        carry = Carry(state, None, report, carried[1])
        carry = loop.step(carry, loop.wants_more(carry))
        return packing.pack((carry.state, carry.report)), carry.buffer

    start = numbers, loop.empty_buffer(state)
    numbers, buffer = lax.fori_loop(0, program.turns, turn, start)
    state, report = packing.unpack(numbers)
    progress = jnp.stack([report.status, state.step])
    return Block(numbers, progress, report.left, buffer)
