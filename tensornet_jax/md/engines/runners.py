"""Who runs the compiled loop, and holds state and report in between: one for each of its forms."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Float

from tensornet_jax.md.engines.block import (
    Block,
    Numbers,
    measured_now,
    packed_start,
    packing_of,
    run_block,
    unpacked,
)
from tensornet_jax.md.engines.chunk import Inputs, Measured, Program, run_chunk
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.limits import Report, Status
from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.output.records import Buffer
from tensornet_jax.md.state import State


class Ran(NamedTuple):
    """How far the loop came.

    status: of the step done or tried last.
    step: number of the last good step.
    left: Å the neighbor lists have left.
    neighbors: the lists.
    buffers: what was recorded, on the host.
    """

    status: Status
    step: int
    left: Float[np.ndarray, " structures"]
    neighbors: Neighbors
    buffers: list[Buffer]


class Runner(Protocol):
    """Runs the compiled loop."""

    @property
    def state(self) -> State:
        """The last good state."""
        ...

    @state.setter
    def state(self, state: State) -> None: ...

    @property
    def report(self) -> Report:
        """The step that was done or tried last."""
        ...

    @property
    def measured(self) -> Measured | None:
        """Scalars of the state; None before the loop has run on from a state that was set."""
        ...

    def run(
        self,
        program: Program,
        inputs: Inputs,
        integrator: Integrator,
        neighbors: Neighbors,
        steps: tuple[int, int],
    ) -> Ran:
        """Go on, and tell how far it came.

        Args:
            program: what is fixed.
            inputs: what no step changes.
            integrator: takes the steps.
            neighbors: the lists.
            steps: steps done, and those to be done.
        """
        ...


class LoopRunner:
    """Runs loops that end themselves. It is a `Runner`."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._report: Report | None = None
        self.measured: Measured | None = None

    @property
    def report(self) -> Report:
        """The step that was done or tried last."""
        assert self._report is not None
        return self._report

    def run(
        self,
        program: Program,
        inputs: Inputs,
        integrator: Integrator,
        neighbors: Neighbors,
        steps: tuple[int, int],
    ) -> Ran:
        """Run one loop, as `Runner` has it."""
        end = np.int32(steps[1])
        chunk = run_chunk(program, inputs, integrator, self.state, neighbors, end)
        self.state, self.measured, self._report = chunk.state, chunk.measured, chunk.report
        status = Status(int(chunk.report.status))
        if chunk.neighbors is not None:
            neighbors = chunk.neighbors
        left, step = np.asarray(chunk.report.left), int(chunk.state.step)
        return Ran(status, step, left, neighbors, _filled([chunk.buffer]))


class BlockRunner:
    """Sends blocks to the device, one after the other, and waits for the last. It is a `Runner`.

    State and report stay packed until somebody asks for them.
    """

    def __init__(self, state: State) -> None:
        self._packing = packing_of(state)
        self.state = state

    @property
    def state(self) -> State:
        """The last good state."""
        return self._unpacked()[0]

    @state.setter
    def state(self, state: State) -> None:
        self._numbers: Numbers = packed_start(self._packing, state)
        self._found: tuple[State, Report] | None = None
        self._measured: Measured | None = None
        self._ran: tuple[Integrator, Inputs] | None = None

    @property
    def report(self) -> Report:
        """The step that was done or tried last."""
        return self._unpacked()[1]

    @property
    def measured(self) -> Measured | None:
        """Scalars of the state; None before the loop has run on from a state that was set."""
        if self._measured is None and self._ran is not None:
            integrator, inputs = self._ran
            self._measured = measured_now(integrator, inputs.system, self.state)
        return self._measured

    def run(
        self,
        program: Program,
        inputs: Inputs,
        integrator: Integrator,
        neighbors: Neighbors,
        steps: tuple[int, int],
    ) -> Ran:
        """Run as many blocks as the steps take, as `Runner` has it."""
        assert program.turns is not None
        (done, end), blocks = steps, list[Block]()
        for _ in range(max(1, -(-(end - done) // program.turns))):
            blocks.append(
                run_block(
                    program,
                    self._packing,
                    inputs,
                    integrator,
                    self._numbers,
                    neighbors,
                    np.int32(end),
                )
            )
            self._numbers = blocks[-1].numbers
        self._found, self._measured, self._ran = None, None, (integrator, inputs)
        last = blocks[-1]
        buffers = [block.buffer for block in blocks]
        (status, step), left, buffers = jax.device_get((last.progress, last.left, buffers))
        return Ran(Status(int(status)), int(step), left, neighbors, _filled(buffers))

    def _unpacked(self) -> tuple[State, Report]:
        found = self._found or unpacked(self._packing, self._numbers)
        self._found = found
        return found


def runner_of(state: State, *, blocks: bool) -> Runner:
    """Return what runs the compiled loop from a state on."""
    return BlockRunner(state) if blocks else LoopRunner(state)


def _filled(buffers: Sequence[Buffer | None]) -> list[Buffer]:
    """Return those of some buffers that hold anything, on the host."""
    there = [each for each in buffers if each is not None and int(each.filled)]
    return [jax.tree.map(np.asarray, each) for each in there]
