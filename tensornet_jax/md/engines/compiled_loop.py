"""The engine: steps of an integrator in one compiled loop, and what has to happen between loops.

A chunk is one `lax.while_loop` on the device. It ends before the step that cannot be done, because
a neighbor list no longer covers it or because the simulation explodes, so that nothing has to be
undone: the host makes a new list, around the positions of that very step, and goes on. The list of
one large structure is made within the loop, which ends for it only if it outgrows its arrays.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np

from tensornet_jax.md.engines.chunk import Finished, Inputs, Measured, Program, run_chunk
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.limits import (
    REMEDY,
    Limits,
    Report,
    SimulationError,
    Status,
    explanation,
)
from tensornet_jax.md.lists.choice import choose_lists
from tensornet_jax.md.lists.frame import Frame
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tensornet_jax.md.output.records import Buffer, Recording, Records, recorded_units
from tensornet_jax.md.state import CompensatedSum, State, System
from tensornet_jax.potential.potential import Potential

# A list with less than this share of its skin left is renewed along with one that ran out.
NEARLY_USED_UP = 0.3
# Lists made for one step before giving up; the second absorbs the rounding of the first.
ATTEMPTS = 4
# Steps of the first chunk, and seconds that a later one takes at most: between two chunks a run can
# be interrupted. How a run is cut into chunks does not change what it computes.
FIRST_CHUNK, LONGEST_CHUNK = 64, 1.0


class Engine:
    """A batch of structures, its state on the device and the compiled loop that advances it.

    state: the last good state.
    measured: its scalars.
    """

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
        """
        many = len(atoms) > 1
        structures = [
            potential.structure(each, f" (structure {index})" if many else "", skin)
            for index, each in enumerate(atoms)
        ]
        self.potential = potential
        self.integrator = integrator
        self.limits = limits
        self.symbols = [each.get_chemical_symbols() for each in atoms]
        about = (potential.cutoff, skin, potential.dtype)
        self.lists = choose_lists(structures, *about, potential.config.long_range)
        self.frame = Frame(atoms, structures)
        self._references = potential.assembly.total_references(structures)
        self._made = 0
        self._pace = FIRST_CHUNK
        self._program = Program(
            potential.module,
            potential.list_cutoff,
            stress or integrator.needs_stress,
            finished,
            recording=recording,
        )
        self._recorded: list[Buffer] = []
        positions, cell = self.frame.start
        with potential.precision():
            self.neighbors = self.lists.build(positions, cell)
            self.system = system(self.lists)
            self.state = self._begin(positions, cell)
        self.measured: Measured | None = None

    @property
    def num_compiles(self) -> int:
        """How often this engine has compiled the loop; one compiled for another may serve it."""
        return len(self._program.compiled)

    @property
    def step(self) -> int:
        """Steps done."""
        return int(self.state.step)

    @property
    def num_rebuilds(self) -> int:
        """How often a neighbor list was made."""
        return self.lists.num_rebuilds + self._made + int(self.neighbors.made)

    def energies(self, of_model: jax.Array) -> np.ndarray:
        """Return energies of the structures, (B,) float64 eV, of those that the model gives."""
        return np.asarray(of_model, np.float64) + self._references

    def set_velocities(self, velocities: np.ndarray) -> None:
        """Replace all velocities, (n, 3) Å/(Å·√(amu/eV))."""
        with self.potential.precision():
            padded = self._padded(velocities)
            self.state = self.state.replace(velocities=jnp.asarray(padded))

    def advance(self, until: int) -> None:
        """Go on to a step; the first call also evaluates the first forces.

        Raises:
            SimulationError: the simulation explodes; the state is that of the last good step.
        """
        attempts, last = 0, -1
        with self.potential.precision():
            scale = jnp.asarray(self.potential.energy_scale, self.potential.dtype)
            while True:
                begun, compiles, before = time.monotonic(), self.num_compiles, self.step
                state, neighbors, measured, report, buffer = run_chunk(
                    replace(self._program, lists=self.lists.loop),
                    Inputs(self.potential.variables, scale, self.system, self.limits),
                    self.integrator,
                    self.state,
                    self.neighbors,
                    np.int32(self._end_of_chunk(before, until)),
                )
                self.state, self.measured = state, measured
                if neighbors is not None:
                    self.neighbors = neighbors
                if buffer is not None and int(buffer.count):
                    self._recorded.append(jax.tree.map(np.asarray, buffer))
                status, step = Status(int(report.status)), int(state.step)
                if self.num_compiles == compiles and step > before:
                    rate = (step - before) / (time.monotonic() - begun)
                    self._pace = max(1, int(rate * LONGEST_CHUNK))
                if status is Status.DONE:
                    # Else the chunk was a short one, or what is recorded has filled its arrays.
                    if step >= until or self._program.finished is not None:
                        return
                    continue
                attempts, last = (attempts + 1 if step == last else 1), step
                if status is not Status.NO_LIST or attempts > ATTEMPTS:
                    raise SimulationError(self._explanation(report), step)
                self._renew_lists(report, step)

    def take_records(self, timestep: float) -> Records | None:
        """Return what was recorded since the last call, or None if that is nothing.

        Args:
            timestep: fs.
        """
        if not self._recorded:
            return None
        count, names = self.lists.num_atoms, self._recorded[0].values
        per_atom = self.potential.per_atom & frozenset(names)

        def joined(rows_of: Callable[[Buffer], Any]) -> np.ndarray:
            return np.concatenate([rows_of(each)[: each.count] for each in self._recorded])

        step = joined(lambda each: each.step)
        values = {name: joined(lambda each, name=name: each.values[name]) for name in names}
        records = Records(
            step=step,
            time=step * timestep,
            temperature=joined(lambda each: each.temperature),
            volume=joined(lambda each: each.volume),
            values={
                name: rows[:, :count] if name in per_atom else rows for name, rows in values.items()
            },
            per_atom=per_atom,
            units=recorded_units(self.potential, tuple(names)),
        )
        self._recorded = []
        return records

    def restore(self, state: State, positions: np.ndarray, cell: np.ndarray) -> None:
        """Take over a state, and the lists made for other positions (n, 3) and cells (B, 3, 3)."""
        with self.potential.precision():
            self.neighbors = self.lists.build(positions, cell)
            self.state = jax.tree.map(lambda x: jnp.array(x, copy=True), state)
        self.measured = None
        self._recorded = []

    def _begin(self, positions: np.ndarray, cell: np.ndarray) -> State:
        dtype = self.potential.dtype
        padded, graphs = self._padded(positions), len(cell)
        energy = jnp.zeros(graphs, dtype)
        state = State(
            ready=jnp.asarray(False),
            step=jnp.int32(0),
            positions=jnp.asarray(padded),
            velocities=jnp.zeros_like(jnp.asarray(padded)),
            cell=jnp.asarray(cell, dtype),
            energy=energy,
            forces=jnp.zeros_like(jnp.asarray(padded)),
            stress=jnp.zeros((graphs, 3, 3), dtype),
            heat=CompensatedSum.zero(energy),
        )
        state = self.integrator.start(self.system, state)
        # A buffer that appears twice could not be donated.
        return jax.tree.map(lambda x: jnp.array(x, copy=True), state)

    def _end_of_chunk(self, step: int, until: int) -> int:
        """Return the step at which a chunk that begins at a step ends at the latest."""
        # What ends by itself would otherwise not be told from what was cut short.
        return until if self._program.finished is not None else min(until, step + self._pace)

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        padded = np.zeros((self.neighbors.positions.shape[0], 3), self.potential.dtype)
        padded[: len(rows)] = rows
        return padded

    def _renew_lists(self, report: Report, step: int) -> None:
        count = self.lists.num_atoms
        positions, cell = np.asarray(report.positions)[:count], np.asarray(report.cell)
        left, reach = np.asarray(report.left), np.asarray(self.neighbors.reach)
        # Written so that NaN counts as used up.
        enough = np.where(np.isfinite(reach), NEARLY_USED_UP * reach, 0)
        which = ~(left > enough)
        shift = self.frame.rehome(positions, cell, self.lists.atoms, which)
        if shift.any():
            shift = shift.astype(self.potential.dtype)
            positions = positions - shift
            moved = self.state.positions - jnp.asarray(self._padded(shift))
            self.state = self.state.replace(positions=moved)
        self._made += int(self.neighbors.made)
        try:
            self.neighbors = self.lists.build(positions, cell, which)
        except ValueError as error:
            raise SimulationError(
                f"step {step + 1}: {error}. The simulation has exploded: {REMEDY}", step
            ) from error

    def _explanation(self, report: Report) -> str:
        timestep = float(self.system.timestep)
        return explanation(
            report, self.state, timestep, self.limits, self.lists.atoms, self.symbols
        )
