"""The engine: steps of an integrator in one compiled loop, and what has to happen between loops.

A chunk is one loop on the device. It ends before the step that cannot be done, because a neighbor
list no longer covers it or because the simulation explodes, so that nothing has to be undone: the
host makes a new list, around the positions of that very step, and goes on. On a CPU the list of one
large structure is made within the loop, which ends for it only if it outgrows its arrays. On a GPU
chunks are blocks (`tensornet_jax.md.blocks`), and the device makes this list between two of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import ase
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.md.blocks import in_blocks
from tensornet_jax.md.config import Check
from tensornet_jax.md.engines.checks import Checks, Findings, Tolerances, with_checks
from tensornet_jax.md.engines.chunk import Finished, Inputs, Measured, Program
from tensornet_jax.md.engines.pace import Pace
from tensornet_jax.md.engines.runners import Ran, runner_of
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.limits import (
    REMEDY,
    Limits,
    SimulationError,
    Status,
    explanation,
)
from tensornet_jax.md.lists.choice import choose_lists
from tensornet_jax.md.lists.frame import Frame
from tensornet_jax.md.lists.host_lists import KeptLists
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tensornet_jax.md.output.records import Buffer, Recording
from tensornet_jax.md.state import State, System, state_at_rest
from tensornet_jax.potential.potential import Potential

# A list with less than this share of its skin left is renewed along with one that ran out.
NEARLY_USED_UP = 0.3
# Lists made for one step before giving up; the second absorbs the rounding of the first.
ATTEMPTS = 4
# A list that the device makes in less time than a step is renewed after the block that leaves less
# than this share of its skin: the next one would stop halfway.
SOON_USED_UP = 0.4


class CompiledLoop:
    """A batch of structures, its state on the device and the compiled loop that advances it."""

    def __init__(
        self,
        potential: Potential,
        atoms: Sequence[ase.Atoms],
        integrator: Integrator,
        system: Callable[[NeighborLists], System],
        limits: Limits,
        *,
        skin: float,
        stress: bool = False,
        finished: Finished | None = None,
        recording: Recording | None = None,
        check: Check | None = None,
    ) -> None:
        """Prepare structures; nothing is compiled yet.

        Args:
            potential: gives the forces.
            atoms: the structures; not changed.
            integrator: takes the steps.
            system: makes the constant arrays, padded as the list builder says.
            limits: when to stop.
            skin: Å the neighbor lists reach beyond the cutoff.
            stress: compute the stress even if the integrator does not need it.
            finished: ends a chunk early, see `Program`; never by default.
            recording: properties to record.
            check: standard deviations above which structures stop or are marked.
        """
        potential.config.require_energy()
        potential.config.require_one_level()
        structures = [
            potential.structure(each, f" (structure {index})" if len(atoms) > 1 else "", skin)
            for index, each in enumerate(atoms)
        ]
        self.potential, self.integrator, self.limits = potential, integrator, limits
        self.symbols = [each.get_chemical_symbols() for each in atoms]
        about = (potential.cutoff, skin, potential.dtype)
        self.lists = choose_lists(structures, *about, potential.config.long_range)
        self.frame = Frame(atoms, structures)
        self._references = potential.assembly.total_references(structures)
        fixed = potential.module, potential.list_cutoff, stress or integrator.needs_stress, finished
        self.program = Program(*fixed, recording=recording, checks=Checks.of(check))
        self._made, self._pace = 0, Pace(blocks=in_blocks())
        self._recorded: list[Buffer] = []
        positions, cell = self.frame.start
        with potential.precision():
            self.neighbors = self.lists.build(positions, cell)
            self._pace.made_lists(0, self.neighbors.reach)
            self.system = system(self.lists)
            place = _padded(positions, self.neighbors.positions), cell.astype(potential.dtype)
            start = integrator.start(self.system, state_at_rest(*map(jnp.asarray, place)))
            start = with_checks(start, check, self.system.num_graphs)
            too_large = None if check is None else Tolerances.of(check, potential.dtype)
            self._tolerances: Tolerances[Array] | None = jax.tree.map(jnp.asarray, too_large)
            self._runner = runner_of(_copied(start), blocks=self._pace.blocks)

    @property
    def state(self) -> State:
        """The last good state."""
        with self.potential.precision():
            return self._runner.state

    @state.setter
    def state(self, state: State) -> None:
        with self.potential.precision():
            self._runner.state = state

    @property
    def measured(self) -> Measured | None:
        """Scalars of the state; None before the loop has run."""
        with self.potential.precision():
            return self._runner.measured

    @property
    def num_compiles(self) -> int:
        """How often this one was compiled; one compiled for others may serve it."""
        return len(self.program.compiled)

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.state.step)

    @property
    def num_rebuilds(self) -> int:
        """How often a neighbor list was made."""
        return self.lists.num_rebuilds + self._made + int(self.neighbors.made)

    def energies(self, of_model: Float[Array, " structures"]) -> Float[np.ndarray, " structures"]:
        """Return energies of the structures, float64 eV, of those that the model gives."""
        return np.asarray(of_model, np.float64) + self._references

    def set_velocities(self, velocities: Float[np.ndarray, "atoms 3"]) -> None:
        """Replace all velocities, Å/(Å·√(amu/eV))."""
        with self.potential.precision():
            padded = jnp.asarray(_padded(velocities, self.neighbors.positions))
            self.state = self.state.replace(velocities=padded)

    def advance(self, until: int) -> None:
        """Go on to a step; the first call also evaluates the first forces.

        Raises:
            SimulationError: the simulation explodes; the state is that of the last good step.
        """
        attempts, last = 0, -1
        with self.potential.precision():
            before = self.step
            turns = self._pace.turns(until - before)
            while True:
                begun, compiles = time.monotonic(), self.num_compiles
                steps = self._pace.steps(before, until - before, turns)
                ran = self._run(before, before + steps, turns)
                status, step = ran.status, ran.step
                if self.num_compiles == compiles and step > before:
                    self._pace.ran(step - before, time.monotonic() - begun)
                ended_early = step < before + steps and self.program.finished is not None
                before = step
                if status is Status.DONE:
                    if turns is not None and _soon_used_up(ran.left, self.neighbors.reach):
                        self._renewed_on_device(self.state.positions, self.state.cell)
                    # Else the chunk was a short one, or what is recorded has filled its arrays.
                    if step >= until or ended_early or all_stopped(self):
                        return
                    continue
                attempts, last = (attempts + 1 if step == last else 1), step
                if status is not Status.NO_LIST or attempts > ATTEMPTS:
                    raise SimulationError(self._explanation(), step)
                self._renew_lists(step)

    def _explanation(self) -> str:
        about = float(self.system.timestep), self.limits, self.lists.atoms, self.symbols
        return explanation(self._runner.report, self.state, *about)

    def take_buffers(self) -> list[Buffer]:
        """Return what was recorded since the last call, on the host."""
        taken, self._recorded = self._recorded, []
        return taken

    def restore(
        self,
        state: State,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "structures 3 3"],
    ) -> None:
        """Take over a state, and the lists made for other positions and cells, Å."""
        with self.potential.precision():
            self.neighbors = self.lists.build(positions, cell)
            self._runner = runner_of(_copied(state), blocks=self._pace.blocks)
        self._pace.made_lists(self.step, self.neighbors.reach)
        self._recorded = []

    def _run(self, step: int, end: int, turns: int | None) -> Ran:
        """Run from a step to another, or not as far, and take over what that leaves."""
        scale = jnp.asarray(self.potential.energy_scale, self.potential.dtype)
        # Between blocks the host sees to lists, wherever they are made.
        lists = self.lists.loop if turns is None else KeptLists()
        program = replace(self.program, lists=lists, turns=turns)
        variables, limits = self.potential.variables, self.limits
        inputs = Inputs(variables, scale, self.system, limits, self._tolerances)
        ran = self._runner.run(program, inputs, self.integrator, self.neighbors, (step, end))
        self.neighbors = ran.neighbors
        self._recorded += ran.buffers
        return ran

    def _renewed_on_device(
        self, positions: Float[Array, "atoms 3"], cell: Float[Array, "structures 3 3"]
    ) -> bool:
        """Renew the lists without the host if that can be done; tell whether it could."""
        place = positions, cell, self.integrator.changes_cell
        new = self.lists.renewed(self.neighbors, *place)
        if new is not None:
            self.neighbors = new
            self._pace.made_lists(self.step, new.reach)
        return new is not None

    def _renew_lists(self, step: int) -> None:
        report = self._runner.report
        if self._pace.blocks and self._renewed_on_device(report.positions, report.cell):
            return
        count = self.lists.num_atoms
        positions, cell = np.asarray(report.positions)[:count], np.asarray(report.cell)
        which = _nearly_used_up(np.asarray(report.left), np.asarray(self.neighbors.reach))
        shift = self.frame.rehome(positions, cell, self.lists.atoms, which)
        if shift.any():
            shift = shift.astype(self.potential.dtype)
            positions = positions - shift
            moved = self.state.positions - jnp.asarray(_padded(shift, self.state.positions))
            self.state = self.state.replace(positions=moved)
        self._made += int(self.neighbors.made)
        try:
            self.neighbors = self.lists.build(positions, cell, which)
            self._pace.made_lists(step, self.neighbors.reach)
        except ValueError as error:
            raise SimulationError(
                f"step {step + 1}: {error}. The simulation has exploded: {REMEDY}", step
            ) from error


def findings_of(loop: CompiledLoop) -> Findings | None:
    """Return what checks of standard deviations have found; None where nothing is checked."""
    checks = loop.program.checks
    return None if checks is None else Findings.of(checks, loop.state.checked)


def all_stopped(loop: CompiledLoop) -> bool:
    """Tell whether every structure has stopped for being too uncertain."""
    findings = findings_of(loop)
    return findings is not None and findings.all_stopped


def _soon_used_up(left: np.ndarray, reach: Array) -> bool:
    # Lists that the host makes are not renewed by this: they are better used up.
    return bool(np.all(left < SOON_USED_UP * np.asarray(reach)))


def _nearly_used_up(left: np.ndarray, reach: np.ndarray) -> np.ndarray:
    # Written so that NaN counts as used up.
    enough = np.where(np.isfinite(reach), NEARLY_USED_UP * reach, 0)
    return ~(left > enough)


def _padded(rows: Float[np.ndarray, "atoms 3"], like: Array) -> Float[np.ndarray, "padded 3"]:
    padded = np.zeros(like.shape, like.dtype)
    padded[: len(rows)] = rows
    return padded


def _copied(state: State) -> State:
    # A buffer that appears twice, or is another's memory, could not be donated.
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
