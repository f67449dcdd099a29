"""The compiled loop: steps of an integrator until one cannot be done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from tensornet_jax.md.integrators.barostat import volume
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.integrators.ramps import at_step, has_ramps, work_of_ramps
from tensornet_jax.md.limits import Limits, Report, Status, status_of
from tensornet_jax.md.lists.host_lists import KeptLists
from tensornet_jax.md.lists.neighbor_lists import ListUpdate
from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.output.records import Buffer, Recording
from tensornet_jax.md.state import State, System, select
from tensornet_jax.potential.prediction import predict
from tensornet_jax.potential.results import about_center_of_mass

Finished = Callable[[Any, System, State], Array]
"""() bool of the integrator, the system and a state whose forces are known."""


@dataclass(frozen=True)
class Program:
    """What of the loop is fixed when it is compiled; equal programs are compiled once.

    module: the model.
    cutoff: Å, the longest of the lists that can run out.
    stress: whether the stress is computed.
    finished: ends a chunk early; a function of a module, or equal programs would not be equal.
    lists: what becomes of lists within the loop.
    recording: properties to record; None without.
    compiled: gets one entry each time the loop is traced.
    """

    module: nn.Module
    cutoff: float
    stress: bool
    finished: Finished | None = None
    lists: ListUpdate = field(default_factory=KeptLists)
    recording: Recording | None = None
    compiled: list[Any] = field(default_factory=list, compare=False)


class Inputs(NamedTuple):
    """Arrays of a simulation that no step changes.

    variables: of the model.
    energy_scale: () eV per unit of network output.
    system: masses and so on.
    limits: what no sound simulation exceeds.
    """

    variables: dict[str, Any]
    energy_scale: Array
    system: System
    limits: Limits


class Measured(NamedTuple):
    """Scalars of the state at the end of a chunk, (B,) each: eV, K and eV."""

    kinetic: Array
    temperature: Array
    conserved: Array


_Carry = tuple[State, Neighbors | None, Report, Buffer | None]


@partial(jax.jit, static_argnames="program", donate_argnames="state")
def run_chunk(
    program: Program,
    inputs: Inputs,
    integrator: Integrator,
    state: State,
    neighbors: Neighbors,
    until: Array,
) -> tuple[State, Neighbors | None, Measured, Report, Buffer | None]:
    """Advance to a step, to the step before the one that cannot be done, or to a full buffer.

    A state without forces gets them first, in the same loop: a second program for that would
    compile the model a second time.

    Args:
        program: what is fixed.
        inputs: what no step changes.
        integrator: takes the steps.
        state: the start; its memory is used again.
        neighbors: the lists.
        until: () int32 number of the last step.

    Returns:
        the last good state, the list if it was made within the loop, scalars of the state, the
        step that was done or tried last, and what was recorded.
    """
    # Python runs this only while JAX traces.
    program.compiled.append(None)
    system, limits = inputs.system, inputs.limits
    compute = ("forces", "stress") if program.stress else ("forces",)
    recording = program.recording
    recorded = () if recording is None else recording.names
    cutoff, changes_cell = program.cutoff, integrator.changes_cell
    ramps = has_ramps(integrator)
    # A list that stays the same does not travel through the loop.
    traveling = neighbors if program.lists.makes_lists else None

    def wanted(carry: _Carry) -> Array:
        state, _, report, buffer = carry
        more = (state.step < until) | ~state.ready
        if program.finished is not None:
            more = more & ~(state.ready & program.finished(integrator, system, state))
        if buffer is not None:
            more = more & ~buffer.full
        return more & (report.status == Status.DONE)

    def one_step(carry: _Carry) -> _Carry:
        old, traveling, _, buffer = carry
        # A step is taken with the numbers of its end, so that the last one has the last numbers.
        now, state = at_step(integrator, old.step + 1), old
        if ramps:
            work = work_of_ramps(at_step(integrator, old.step), now, system, old)
            state = old.heated(jnp.where(old.ready, work, 0))
        moved = select(state.ready, now.advance(system, state), state)
        place = moved.positions, moved.cell
        current = neighbors if traveling is None else traveling
        current, left = program.lists.update(current, system, *place, cutoff, changes_cell)
        traveling = None if traveling is None else current
        graph = current.at(*place)
        outputs = predict(
            program.module, inputs.variables, graph, (*compute, *recorded), inputs.energy_scale
        )
        moved = moved.replace(**{name: outputs[name] for name in ("energy", *compute)})
        new = select(state.ready, now.finish(system, moved), moved)
        new = new.replace(
            ready=jnp.ones_like(state.ready), step=state.step + state.ready.astype(jnp.int32)
        )
        temperature = system.temperature(new.velocities)
        status = status_of(system, limits, state, moved, left, temperature)
        report = Report(status, *place, new.velocities, new.energy, temperature, left)
        if recording is not None and buffer is not None:
            due = (status == Status.DONE) & (new.step % recording.interval == 0)
            outputs = about_center_of_mass(program.module.config, outputs, graph, system.masses)
            buffer = buffer.appended(due, new.step, temperature, volume(new.cell), outputs)
        return select(status == Status.DONE, new, old), traveling, report, buffer

    report = Report(
        jnp.int32(Status.DONE),
        state.positions,
        state.cell,
        state.velocities,
        state.energy,
        jnp.zeros_like(state.energy),
        jnp.zeros_like(state.energy),
    )
    buffer = None
    if recorded:
        properties = jax.eval_shape(
            lambda graph: predict(program.module, inputs.variables, graph, recorded),
            neighbors.graph,
        )
        buffer = Buffer.empty(state.energy, {name: properties[name] for name in recorded})
    start = state, traveling, report, buffer
    state, traveling, report, buffer = lax.while_loop(wanted, one_step, start)
    measured = Measured(
        system.kinetic_energy(state.velocities),
        system.temperature(state.velocities),
        at_step(integrator, state.step).conserved(system, state),
    )
    return state, traveling, measured, report, buffer
