"""The engine on the device: structures and an ensemble, sampled at intervals."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import ase
import jax.numpy as jnp
import numpy as np

from tensornet_jax.md.cells import check_cells, planes_of
from tensornet_jax.md.config import NPT, NVE, Ensemble, Record
from tensornet_jax.md.engines.compiled_loop import Engine, Lists
from tensornet_jax.md.engines.dynamics import FACTOR, MARGIN, Dynamics
from tensornet_jax.md.engines.snapshot import restore_engine, snapshot_of
from tensornet_jax.md.integrators.ensembles import (
    first_value,
    largest_temperature,
    make_integrator,
    per_structure,
)
from tensornet_jax.md.limits import Limits, SimulationError
from tensornet_jax.md.output.records import Recording, Records, check_recorded
from tensornet_jax.md.output.restart_file import Snapshot
from tensornet_jax.md.sample import Sample
from tensornet_jax.md.state import BOLTZMANN, FEMTOSECOND, System
from tensornet_jax.md.system import make_system
from tensornet_jax.md.velocities import (
    bring_to_rest,
    mobile_atoms,
    motions_at_rest,
    thermal_velocities,
)
from tensornet_jax.potential.potential import Potential


class Simulation(Dynamics):
    """Molecular dynamics of one structure, or of many at once.

    Everything between two samples runs in one compiled loop; neighbor lists that no longer hold
    are made again in between, and grow when they must. Fixed atoms (ASE's `FixAtoms`) stay where
    they are.

    Example::

        simulation = Simulation(potential, atoms, Langevin(temperature=300), timestep=0.5)
        (final,) = simulation.run(10_000, interval=100, observers=[print_temperature])
    """

    engine_name: ClassVar[str] = "device"

    def __init__(
        self,
        potential: Potential,
        atoms: ase.Atoms | Sequence[ase.Atoms],
        ensemble: Ensemble,
        *,
        timestep: float,
        seed: int = 0,
        velocities: Literal["thermal", "keep", "rest"] = "thermal",
        skin: float = 0.5,
        stress: bool = False,
        max_temperature: float | None = None,
        max_displacement: float = 0.5,
        replicas: Sequence[int] | None = None,
        record: Record | None = None,
    ) -> None:
        """Prepare a simulation; nothing is computed yet.

        Args:
            potential: gives the forces; its dtype is that of the simulation.
            atoms: one structure, or several that run at once and independently; not changed.
            ensemble: one of `tensornet_jax.md.config`'s; its numbers may be one for each structure.
            timestep: fs.
            seed: of first velocities and thermostat.
            velocities: "thermal" draws them at the ensemble's (first) temperature, "keep" takes
                those of the structures, "rest" has none.
            skin: Å the neighbor lists reach beyond the cutoff; 0 makes a new one every step.
            stress: compute the stress even if the ensemble does not need it.
            max_temperature: K above which the simulation has exploded; by default 10 times the
                ensemble's temperature, or that of kept velocities, and 5000 K.
            max_displacement: Å in one step above which it has exploded.
            replicas: numbers of the structures' random numbers, by default 0, 1, …: a replica run
                alone under its number follows the path it takes in company.
            record: properties to record between samples; observers get them with every `Sample`.

        Raises:
            ValueError: unknown element, an unsupported constraint, a stress or pressure without
                periodic cell, velocities to keep that are not there, a property to record that
                the model does not predict.
        """
        structures = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
        if not structures or any(len(each) == 0 for each in structures):
            raise ValueError("a simulation needs atoms: give at least one structure that has some")
        self.potential = potential
        self.ensemble = ensemble
        self.timestep = float(timestep)
        self.seed = seed
        self.record = record
        self.skin = float(skin)
        self.replicas = list(range(len(structures)) if replicas is None else replicas)
        if len(self.replicas) != len(structures):
            raise ValueError(f"{len(self.replicas)} replica numbers for {len(structures)} atoms")
        mobile = [
            mobile_atoms(each, f" (structure {index})" if len(structures) > 1 else "")
            for index, each in enumerate(structures)
        ]
        check_cells(structures, mobile, ensemble, stress)
        recording = None
        if record is not None:
            check_recorded(potential, record.properties, structures)
            recording = Recording(tuple(record.properties), record.interval)
        in_plane = isinstance(ensemble, NPT) and ensemble.shape == "in_plane"
        planes = planes_of(structures) if in_plane else None
        first = first_value(ensemble.temperature)
        temperature = per_structure(first, len(structures), "temperature")
        with potential.precision():
            integrator = make_integrator(
                ensemble, len(structures), potential.dtype, timestep=self.timestep, planes=planes
            )
        starts, freedom = [], []
        for index, each in enumerate(structures):
            start = self._start(each, temperature[index], index, velocities)
            at_rest = 0
            if integrator.conserves_momentum:
                keeps = isinstance(ensemble, NVE) and velocities == "keep"
                at_rest = motions_at_rest(start) if keeps else bring_to_rest(start)
            starts.append(start)
            freedom.append(3 * int(mobile[index].sum()) - at_rest)
        kinetic = np.array([start.get_kinetic_energy() for start in starts])
        highest = largest_temperature(ensemble, len(structures))
        hottest = np.maximum(highest, 2 * kinetic / (BOLTZMANN * np.maximum(freedom, 1)))
        limit = FACTOR * hottest + MARGIN
        if max_temperature is not None:
            limit = np.full(len(structures), max_temperature)

        def system(lists: Lists) -> System:
            return make_system(
                starts,
                mobile,
                freedom,
                lists,
                timestep=self.timestep * FEMTOSECOND,
                seed=seed,
                replicas=self.replicas,
            )

        with potential.precision():
            limits = Limits(
                jnp.asarray(limit, potential.dtype),
                jnp.asarray(max_displacement, potential.dtype),
            )
        self.engine = Engine(
            potential,
            starts,
            integrator,
            system,
            limits,
            skin=self.skin,
            stress=stress,
            recording=recording,
        )
        self.engine.set_velocities(np.concatenate([each.get_velocities() for each in starts]))
        self.structures = tuple(_template(each) for each in structures)
        self._planes = planes
        self._stress = stress or integrator.needs_stress

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
            self.engine.advance(self.step)
        state, measured = self.engine.state, self.engine.measured
        assert measured is not None
        count = self.engine.lists.num_atoms

        def rows(values: Any) -> np.ndarray:
            return np.array(values, np.float64)[:count]

        def each(values: Any) -> np.ndarray:
            return np.array(values, np.float64)

        cell, step = each(state.cell), self.step
        references = self.engine.reference_energies
        return Sample(
            step=step,
            time=step * self.timestep,
            positions=self.engine.frame.unwrapped(
                rows(state.positions), cell, self.engine.lists.atoms
            ),
            velocities=rows(state.velocities) * FEMTOSECOND,
            forces=rows(state.forces),
            cell=cell,
            potential_energy=each(state.energy) + references,
            kinetic_energy=each(measured.kinetic),
            temperature=each(measured.temperature),
            conserved=each(measured.conserved) + references,
            stress=each(state.stress) if self._stress else None,
            templates=self.structures,
            planes=self._planes,
        )

    def conditions(self) -> dict[str, Any]:
        """Return what else must be the same for a run to go on, as JSON."""
        return {
            "fixed atoms": [
                np.flatnonzero(~mobile_atoms(each)).tolist() for each in self.structures
            ],
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
        same = all(
            np.allclose(now, then, rtol=share, atol=share * (np.abs(then).max() + share))
            for now, then in (
                (np.asarray(state.energy), snapshot.arrays["state.energy"]),
                (np.asarray(state.forces), snapshot.arrays["state.forces"]),
            )
        )
        self._restore(snapshot)
        return same

    def _restore(self, snapshot: Snapshot) -> None:
        restore_engine(self.engine, snapshot)

    def _advance(self, until: int) -> None:
        self.engine.advance(until)

    def _take_records(self) -> Records | None:
        return self.engine.take_records(self.timestep)

    @property
    def _has_forces(self) -> bool:
        return bool(self.engine.state.ready)

    def _start(
        self, atoms: ase.Atoms, temperature: float, index: int, velocities: str
    ) -> ase.Atoms:
        start = atoms.copy()
        start.calc = None
        if velocities == "keep":
            if not start.get_momenta().any():
                raise ValueError(
                    f"structure {index} has no velocities to keep: use velocities: thermal"
                )
            return start
        if velocities == "rest":
            start.set_velocities(np.zeros((len(start), 3)))
            return start
        # Each replica has its own numbers, whoever else is there.
        rng = np.random.default_rng([self.seed, self.replicas[index]])
        start.set_velocities(thermal_velocities(start, float(temperature), rng))
        return start


def _template(atoms: ase.Atoms) -> ase.Atoms:
    template = atoms.copy()
    template.calc = None
    return template
