"""The compiled loop: steps of an integrator until one cannot be done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int32, PyTree

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.md.engines.checks import Checks, Tolerances, held, largest_in_structures
from tensornet_jax.md.integrators.barostat import volume
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.integrators.ramps import at_step, has_ramps, work_of_ramps
from tensornet_jax.md.limits import Limits, Report, Status, status_of
from tensornet_jax.md.lists.host_lists import KeptLists
from tensornet_jax.md.lists.neighbor_lists import ListUpdate
from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.output.records import MOST_ROWS, Buffer, Recording
from tensornet_jax.md.state import State, System, select
from tensornet_jax.potential.prediction import predict
from tensornet_jax.potential.results import about_center_of_mass

Finished: TypeAlias = Callable[[PyTree, System, State], Bool[Array, ""]]
"""Tells of the integrator, the system and a state whose forces are known whether to stop."""


@dataclass(frozen=True)
class Program:
    """What of the loop is fixed when it is compiled; equal programs are compiled once.

    module: the model.
    cutoff: Å, the longest of the lists that can run out.
    stress: whether the stress is computed.
    finished: ends a chunk early; a function of a module, or equal programs would not be equal.
    lists: what becomes of lists within the loop.
    recording: properties to record; None without.
    checks: of standard deviations; None without.
    turns: steps of a block, see `tensornet_jax.md.blocks`; None for a loop that ends itself.
    compiled: gets one entry each time the loop is traced.
    """

    module: nn.Module
    cutoff: float
    stress: bool
    finished: Finished | None = None
    lists: ListUpdate = field(default_factory=KeptLists)
    recording: Recording | None = None
    checks: Checks | None = None
    turns: int | None = None
    compiled: list[None] = field(default_factory=list, compare=False)


class Inputs(NamedTuple):
    """Arrays of a simulation that no step changes.

    variables: of the model.
    energy_scale: eV per unit of network output.
    system: masses and so on.
    limits: what no sound simulation exceeds.
    tolerances: standard deviations that are too large; None where none are checked.
    """

    variables: dict[str, PyTree[Array]]
    energy_scale: Float[Array, ""]
    system: System
    limits: Limits
    tolerances: Tolerances | None = None


class Measured(NamedTuple):
    """Scalars of the state at the end of a chunk: eV, K and eV."""

    kinetic: Float[Array, " structures"]
    temperature: Float[Array, " structures"]
    conserved: Float[Array, " structures"]


class Chunk(NamedTuple):
    """What a chunk leaves.

    state: the last good state.
    neighbors: the lists, if they were made within the loop.
    measured: scalars of the state.
    report: the step that was done or tried last.
    buffer: what was recorded.
    """

    state: State
    neighbors: Neighbors | None
    measured: Measured
    report: Report
    buffer: Buffer | None


class Carry(NamedTuple):
    """What travels through the loop; a list that stays the same does not."""

    state: State
    neighbors: Neighbors | None
    report: Report
    buffer: Buffer | None


@partial(jax.jit, static_argnames="program", donate_argnames="state")
def run_chunk(
    program: Program,
    inputs: Inputs,
    integrator: Integrator,
    state: State,
    neighbors: Neighbors,
    until: Int32[Array, ""],
) -> Chunk:
    """Advance to a step, to the step before the one that cannot be done, or to a full buffer.

    A state without forces gets them first, in the same loop: a second program for that would
    compile the model a second time.

    Args:
        program: what is fixed.
        inputs: what no step changes.
        integrator: takes the steps.
        state: the start; its memory is used again.
        neighbors: the lists.
        until: number of the last step.
    """
    # Python runs this only while JAX traces.
    program.compiled.append(None)
    loop = Loop(program, inputs, integrator, neighbors, until)
    end = lax.while_loop(loop.goes_on, loop.step, loop.start(state))
    measured = measured_of(integrator, inputs.system, end.state)
    return Chunk(end.state, end.neighbors, measured, end.report, end.buffer)


def measured_of(integrator: Integrator, system: System, state: State) -> Measured:
    """Return the scalars of a state."""
    return Measured(
        system.kinetic_energy(state.velocities),
        system.temperature(state.velocities),
        at_step(integrator, state.step).conserved(system, state),
    )


def first_report(state: State) -> Report:
    """Return the report before the first step is tried."""
    return Report(
        jnp.int32(Status.DONE),
        state.positions,
        state.cell,
        state.velocities,
        state.energy,
        jnp.zeros_like(state.energy),
        jnp.zeros_like(state.energy),
    )


class Loop(NamedTuple):
    """The loop while JAX traces it; the arguments are those of `run_chunk`."""

    program: Program
    inputs: Inputs
    integrator: Integrator
    neighbors: Neighbors
    until: Int32[Array, ""]

    def start(self, state: State) -> Carry:
        """Return what the loop begins with."""
        traveling = self.neighbors if self.program.lists.makes_lists else None
        return Carry(state, traveling, first_report(state), self.empty_buffer(state))

    def goes_on(self, carry: Carry) -> Bool[Array, ""]:
        """Tell whether another step is to be taken, and the last one was."""
        return self.wants_more(carry) & (carry.report.status == Status.DONE)

    def wants_more(self, carry: Carry) -> Bool[Array, ""]:
        """Tell whether another step is to be taken."""
        state, finished = carry.state, self.program.finished
        more = (state.step < self.until) | ~state.ready
        if finished is not None:
            more = more & ~(state.ready & finished(self.integrator, self.inputs.system, state))
        if state.checked is not None:
            more = more & ~jnp.all(state.checked.holds)
        if carry.buffer is not None:
            more = more & ~carry.buffer.full
        return more

    def step(self, carry: Carry, wanted: Bool[Array, ""] | None = None) -> Carry:
        """Take a step, or find out why it cannot be taken; none unless it is wanted."""
        old, system = carry.state, self.inputs.system
        # A step is taken with the numbers of its end, so that the last one has the last numbers.
        now, state = at_step(self.integrator, old.step + 1), old
        if has_ramps(self.integrator):
            work = work_of_ramps(at_step(self.integrator, old.step), now, system, old)
            state = old.heated(jnp.where(old.ready, work, 0))
        moved = self._held(old, select(state.ready, now.advance(system, state), state))
        place = moved.positions, moved.cell
        current = self.neighbors if carry.neighbors is None else carry.neighbors
        changes_cell = self.integrator.changes_cell
        lists, left = self.program.lists.update(
            current, system, *place, self.program.cutoff, changes_cell
        )
        graph = lists.at(*place)
        outputs = self._evaluated(graph)
        moved = moved.replace(**{name: outputs[name] for name in ("energy", *self._derivatives)})
        new = self._held(old, select(state.ready, now.finish(system, moved), moved))
        new = new.replace(
            ready=jnp.ones_like(state.ready), step=state.step + state.ready.astype(jnp.int32)
        )
        new = self._checked(new, graph)
        temperature = system.temperature(new.velocities)
        status = status_of(system, self.inputs.limits, state, moved, left, temperature)
        done = status == Status.DONE
        if wanted is not None:
            done, status = done & wanted, jnp.where(wanted, status, jnp.int32(Status.DONE))
        report = Report(status, *place, new.velocities, new.energy, temperature, left)
        buffer = self._recorded(carry.buffer, done, new, temperature, outputs, graph)
        traveling = None if carry.neighbors is None else lists
        return Carry(select(done, new, old), traveling, report, buffer)

    def _held(self, before: State, now: State) -> State:
        """Return a state in which the structures that have stopped are as they were."""
        if now.checked is None:
            return now
        # Forces and energy of the start are those of its first evaluation.
        holds = now.checked.holds & before.ready
        return held(self.inputs.system, holds, before, now)

    def _checked(self, state: State, graph: AtomGraph) -> State:
        """Return a state that knows whether its structures are too uncertain."""
        checks, tolerances = self.program.checks, self.inputs.tolerances
        if checks is None or tolerances is None or state.checked is None:
            return state
        due = state.step % checks.every == 0

        def largest() -> Array:
            outputs = self._predicted(graph, checks.names)
            return largest_in_structures(self.inputs.system, outputs, checks.names)

        found = lax.cond(due, largest, lambda: state.checked.largest)
        return state.replace(checked=state.checked.after(tolerances, due, state.step, found))

    def _predicted(self, graph: AtomGraph, names: tuple[str, ...]) -> dict[str, Array]:
        module, variables = self.program.module, self.inputs.variables
        return predict(module, variables, graph, names, self.inputs.energy_scale)

    @property
    def _derivatives(self) -> tuple[str, ...]:
        return ("forces", "stress") if self.program.stress else ("forces",)

    def _evaluated(self, graph: AtomGraph) -> dict[str, Array]:
        recording = self.program.recording
        recorded = () if recording is None else recording.at_hand
        return self._predicted(graph, (*self._derivatives, *recorded))

    def _recorded(
        self,
        buffer: Buffer | None,
        done: Bool[Array, ""],
        state: State,
        temperature: Float[Array, " structures"],
        outputs: dict[str, Array],
        graph: AtomGraph,
    ) -> Buffer | None:
        """Return the buffer with what a step has to record."""
        recording = self.program.recording
        if recording is None or buffer is None:
            return buffer
        on_time = state.step % recording.interval == 0
        if recording.on_request:
            outputs = outputs | self._on_request(on_time, recording.on_request, graph)
        due = done & on_time
        masses = self.inputs.system.masses
        values = about_center_of_mass(self.program.module.config, outputs, graph, masses)
        return buffer.appended(due, state.step, temperature, volume(state.cell), values)

    def _on_request(
        self, due: Bool[Array, ""], names: tuple[str, ...], graph: AtomGraph
    ) -> dict[str, Array]:
        """Return what costs more than forces where it is due, and zeros elsewhere."""

        def found() -> dict[str, Array]:
            outputs = self._predicted(graph, names)
            return {name: outputs[name] for name in names}

        shapes = jax.eval_shape(found)
        return lax.cond(due, found, lambda: jax.tree.map(jnp.zeros_like, shapes))

    def empty_buffer(self, state: State) -> Buffer | None:
        """Return room for what is recorded."""
        recording = self.program.recording
        if recording is None:
            return None
        shapes = jax.eval_shape(
            lambda graph: predict(
                self.program.module, self.inputs.variables, graph, recording.names
            ),
            self.neighbors.graph,
        )
        turns = self.program.turns
        return Buffer.empty(
            state.energy,
            {name: shapes[name] for name in recording.names},
            MOST_ROWS if turns is None else turns // recording.interval + 1,
        )
