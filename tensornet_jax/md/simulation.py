"""A simulation: structures, an ensemble and the engine, sampled at intervals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ase
import jax.numpy as jnp
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from tensornet_jax.md.config import NPT, NVE, Ensemble, Record
from tensornet_jax.md.engine import Engine, Lists
from tensornet_jax.md.ensembles import GIGAPASCAL, make_integrator, per_structure
from tensornet_jax.md.limits import Limits, SimulationError
from tensornet_jax.md.records import Recording, Records, check_recorded
from tensornet_jax.md.state import BOLTZMANN, FEMTOSECOND, System
from tensornet_jax.md.system import make_system
from tensornet_jax.md.velocities import (
    bring_to_rest,
    mobile_atoms,
    motions_at_rest,
    thermal_velocities,
)
from tensornet_jax.potential import Potential

# Where none is given, a simulation has exploded above FACTOR × its temperature + MARGIN, K.
FACTOR, MARGIN = 10.0, 5000.0


class Simulation:
    """Molecular dynamics of one structure, or of many at once.

    Everything between two samples runs in one compiled loop; neighbour lists that no longer hold
    are made again in between, and grow when they must. Fixed atoms (ASE's `FixAtoms`) stay where
    they are.

    Example::

        simulation = Simulation(potential, atoms, Langevin(temperature=300), timestep=0.5)
        (final,) = simulation.run(10_000, interval=100, observers=[print_temperature])
    """

    def __init__(
        self,
        potential: Potential,
        atoms: ase.Atoms | Sequence[ase.Atoms],
        ensemble: Ensemble,
        *,
        timestep: float,
        seed: int = 0,
        velocities: Literal["thermal", "keep"] = "thermal",
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
            velocities: "thermal" draws them at the ensemble's temperature, "keep" takes those of
                the structures.
            skin: Å the neighbour lists reach beyond the cutoff; 0 makes a new one every step.
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
        self._check_cells(structures, mobile, stress)
        recording = None
        if record is not None:
            check_recorded(potential, record.properties, structures)
            recording = Recording(tuple(record.properties), record.interval)
        temperature = per_structure(ensemble.temperature, len(structures), "temperature")
        with potential.precision():
            integrator = make_integrator(ensemble, len(structures), potential.dtype)
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
        hottest = np.maximum(temperature, 2 * kinetic / (BOLTZMANN * np.maximum(freedom, 1)))
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
        self._templates = tuple(_template(each) for each in structures)
        self._stress = stress or integrator.needs_stress
        self._sampled: int | None = None

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
        """How often a neighbour list was made."""
        return self.engine.num_rebuilds

    @property
    def structures(self) -> tuple[ase.Atoms, ...]:
        """The structures at the start."""
        return self._templates

    @property
    def atoms(self) -> list[ase.Atoms]:
        """The structures as they are now, with velocities and results."""
        return list(_each(self.sample()))

    def run(
        self, steps: int, *, interval: int | None = None, observers: Sequence[Observer] = ()
    ) -> list[ase.Atoms]:
        """Take steps, and return the structures at the end with velocities and results.

        Args:
            steps: how many more.
            interval: steps between two samples; by default there is one at the end.
            observers: called with every `Sample`, that of the start included unless an earlier
                `run` has shown it.

        Raises:
            SimulationError: the simulation exploded. Observers have been given the last good
                state, at which the simulation still is.
        """
        target = self.step + steps
        interval = interval or max(steps, 1)
        try:
            if not self.sampled:
                self._show(observers)
            while self.step < target:
                self.engine.advance(min(target, (self.step // interval + 1) * interval))
                self._show(observers)
        except SimulationError:
            # Without first forces there is no good state to show.
            if bool(self.engine.state.ready) and not self.sampled:
                self._show(observers)
            raise
        return self.atoms

    @property
    def sampled(self) -> bool:
        """Whether the present state has been shown to observers."""
        return self._sampled == self.step

    def resumed(self) -> None:
        """Note that the state was taken over from a run that has shown it to its observers."""
        self._sampled = self.step

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
            templates=self._templates,
        )

    def _show(self, observers: Sequence[Observer]) -> None:
        sample = self.sample()
        sample = replace(sample, records=self.engine.take_records(self.timestep))
        self._sampled = sample.step
        for observer in observers:
            observer(sample)

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
        # Each replica has its own numbers, whoever else is there.
        rng = np.random.default_rng([self.seed, self.replicas[index]])
        start.set_velocities(thermal_velocities(start, float(temperature), rng))
        return start

    def _check_cells(
        self, structures: Sequence[ase.Atoms], mobile: Sequence[np.ndarray], stress: bool
    ) -> None:
        for index, atoms in enumerate(structures):
            where = f"structure {index}"
            if stress and not atoms.cell.rank == 3:
                raise ValueError(f"{where} has no volume: set a cell, or do not ask for its stress")
            if isinstance(self.ensemble, NPT):
                if not atoms.pbc.all():
                    raise ValueError(
                        f"{where} is not periodic in three directions (pbc {atoms.pbc.tolist()}): "
                        "constant pressure needs that; use another ensemble"
                    )
                if not mobile[index].all():
                    raise ValueError(
                        f"{where} has fixed atoms, which a changing cell would move: remove the "
                        "constraint, or use another ensemble"
                    )


def _each(sample: Sample) -> Iterator[ase.Atoms]:
    return (sample.atoms(index) for index in range(len(sample)))


def _template(atoms: ase.Atoms) -> ase.Atoms:
    template = atoms.copy()
    template.calc = None
    return template
