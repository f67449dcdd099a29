"""The engine on the device: structures and an ensemble, sampled at intervals."""

from collections.abc import Mapping
from typing import ClassVar

import ase
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from tensornet_jax.md.config import FirstVelocities
from tensornet_jax.md.engines.compiled_loop import CompiledLoop, all_stopped, findings_of
from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.engines.snapshot import restore_loop, snapshot_of
from tensornet_jax.md.ensembles.numbers import per_structure
from tensornet_jax.md.integrators.batch import Batch
from tensornet_jax.md.limits import Limits, SimulationError
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tensornet_jax.md.output.flux_records import FluxRecords
from tensornet_jax.md.output.records import Recording, Records, records_of
from tensornet_jax.md.output.restart_file import Snapshot
from tensornet_jax.md.sample import Sample
from tensornet_jax.md.state import BOLTZMANN, FEMTOSECOND, System
from tensornet_jax.md.system import make_system
from tensornet_jax.md.velocities import (
    free_atoms,
    thermal_velocities,
    without_conserved_motion,
)


class Simulation(Dynamics):
    """Molecular dynamics of one structure, or of many at once.

    Everything between two samples runs in one compiled loop; neighbor lists that no longer hold
    are made again in between, and grow when they must. Fixed atoms (ASE's `FixAtoms`) stay where
    they are.

    Example::

        simulation = Simulation(potential, atoms, Langevin(temperature=300), timestep=0.5)
        (final,) = simulation.run(10_000, interval=100, observers=[print_temperature])

    engine: the structures on the device.
    """

    engine_name: ClassVar[str] = "device"

    engine: CompiledLoop

    def _prepare(self, velocities: FirstVelocities) -> None:
        structures, potential = self.structures, self.potential
        mobile = list(map(free_atoms, structures))
        with potential.precision():
            batch = Batch(structures, self.timestep, potential.dtype)
            integrator = self.ensemble.integrator(batch)
        first = self.ensemble.first_temperature
        temperatures = per_structure(first, len(structures), "temperature")
        starts, degrees = [], []
        for index, each in enumerate(structures):
            start = self._start(each, temperatures[index], index, velocities)
            kept = velocities == "keep"
            at_rest = without_conserved_motion(start, self.ensemble, kept=kept)
            starts.append(start)
            degrees.append(3 * int(mobile[index].sum()) - at_rest)

        def system(lists: NeighborLists) -> System:
            return make_system(
                starts,
                mobile,
                degrees,
                lists,
                timestep=self.timestep * FEMTOSECOND,
                seed=self.seed,
                replicas=self.replicas,
            )

        record = self.record
        self._fluxes = FluxRecords(record, potential)
        self.engine = CompiledLoop(
            potential,
            starts,
            integrator,
            system,
            self._limits(starts, degrees),
            skin=self.skin,
            stress=self._stress,
            recording=record and Recording.of(record),
            check=self.check,
        )
        self.engine.set_velocities(np.concatenate([each.get_velocities() for each in starts]))
        self._planes = self.ensemble.planes(structures)
        self._stress = self._stress or integrator.needs_stress

    def _limits(self, starts: list[ase.Atoms], degrees: list[int]) -> Limits:
        kinetic = np.array([start.get_kinetic_energy() for start in starts])
        now = 2 * kinetic / (BOLTZMANN * np.maximum(degrees, 1))
        dtype = self.potential.dtype
        with self.potential.precision():
            return Limits(
                jnp.asarray(self._highest_temperatures(now), dtype),
                jnp.asarray(self._max_displacement, dtype),
            )

    @property
    def step(self) -> int:
        """Steps done."""
        return self.engine.step

    @property
    def num_compiles(self) -> int:
        """How often the loop was compiled: once, and again where a list outgrew its arrays."""
        return self.engine.num_compiles

    @property
    def num_rebuilds(self) -> int:
        """How often a neighbor list was made."""
        return self.engine.num_rebuilds

    def sample(self) -> Sample:
        """Return the present state."""
        if not bool(self.engine.state.ready) or self.engine.measured is None:
            self._advance(self.step)
        state, measured = self.engine.state, self.engine.measured
        assert measured is not None
        count = self.engine.lists.num_atoms

        def rows(values: ArrayLike) -> np.ndarray:
            return np.array(values, np.float64)[:count]

        def each(values: ArrayLike) -> np.ndarray:
            return np.array(values, np.float64)

        cell, step = each(state.cell), self.step
        return Sample(
            step=step,
            time=step * self.timestep,
            positions=self.engine.frame.unwrapped(
                rows(state.positions), cell, self.engine.lists.atoms
            ),
            velocities=rows(state.velocities) * FEMTOSECOND,
            forces=rows(state.forces),
            cell=cell,
            potential_energy=self.engine.energies(state.energy),
            kinetic_energy=each(measured.kinetic),
            temperature=each(measured.temperature),
            conserved=self.engine.energies(measured.conserved),
            stress=each(state.stress) if self._stress else None,
            templates=self.structures,
            planes=self._planes,
            findings=findings_of(self.engine),
        )

    def conditions(self) -> Mapping[str, object]:
        """Return what else must be the same for a run to go on, as JSON."""
        return {
            "fixed atoms": [np.flatnonzero(~free_atoms(each)).tolist() for each in self.structures],
            # Spelled as in files of every version.
            "kind of neighbour list": "device" if self.engine.lists.on_device else "host",
        }

    def snapshot(self) -> Snapshot:
        """Return a copy of the present state, from which a run can go on bitwise."""
        return snapshot_of(self.engine)

    def reproduces(self, snapshot: Snapshot) -> bool:
        """Tell whether this model has the energy and forces of a snapshot just restored."""
        if not snapshot.arrays["state.ready"]:
            return False
        with self.potential.precision():
            self.engine.state = self.engine.state.replace(ready=jnp.asarray(False))
        try:
            self.engine.advance(self.step)
        except SimulationError:
            return False
        state, share = self.engine.state, 1e-3 if self.potential.dtype == "float32" else 1e-6
        count = self.engine.lists.num_atoms
        same = all(
            np.allclose(now, then, rtol=share, atol=share * (np.abs(then).max() + share))
            for now, then in (
                (np.asarray(state.energy), snapshot.arrays["state.energy"]),
                (np.asarray(state.forces)[:count], snapshot.arrays["state.forces"][:count]),
            )
        )
        self._restore(snapshot)
        return same

    @property
    def all_stopped(self) -> bool:
        """Whether every structure has stopped for being too uncertain."""
        return all_stopped(self.engine)

    def _restore(self, snapshot: Snapshot) -> None:
        restore_loop(self.engine, snapshot)
        self._fluxes.clear()

    def _advance(self, until: int) -> None:
        fluxes = self._fluxes
        while True:
            # The first evaluation of forces records the step at which the simulation is.
            done = self.step if self._has_forces else self.step - 1
            stop = fluxes.next_due(done, until)
            self.engine.advance(stop)
            if fluxes.due(stop) and done < self.step == stop:
                fluxes.note(self.atoms)
            if stop >= until or self.all_stopped:
                return

    def _take_records(self) -> Records | None:
        buffers, count = self.engine.take_buffers(), self.engine.lists.num_atoms
        fluxes = self._fluxes.take()
        return records_of(buffers, self.potential, self.timestep, count, fluxes)

    @property
    def _has_forces(self) -> bool:
        return bool(self.engine.state.ready)

    def _start(
        self, atoms: ase.Atoms, temperature: float, index: int, velocities: FirstVelocities
    ) -> ase.Atoms:
        start = atoms.copy()
        if velocities == "rest":
            start.set_velocities(np.zeros((len(start), 3)))
        elif velocities == "thermal":
            # Each replica has its own numbers, whoever else is there.
            rng = np.random.default_rng([self.seed, self.replicas[index]])
            start.set_velocities(thermal_velocities(start, float(temperature), rng))
        return start
