"""What every engine of molecular dynamics has in common: a state, samples of it, and going on."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import ase
import numpy as np
from jaxtyping import Bool, Float

from tensornet_jax.md.config import Check, FirstVelocities, Record
from tensornet_jax.md.engines.capabilities import Demand
from tensornet_jax.md.engines.registry import refusals
from tensornet_jax.md.ensembles.ensemble import Ensemble
from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.output.records import Records, check_recorded
from tensornet_jax.md.output.restart_file import Snapshot
from tensornet_jax.md.sample import Observer, Sample
from tensornet_jax.md.velocities import free_atoms
from tensornet_jax.potential.potential import Potential

# Where none is given, a simulation has exploded above FACTOR × its temperature + MARGIN, K.
FACTOR, MARGIN = 10.0, 5000.0


class Dynamics(abc.ABC):
    """Molecular dynamics that observers see at intervals, and that a restart file can continue.

    An engine is a subclass with an entry in `ENGINES`, which says what it can do; what it cannot
    do it never sees.

    potential: gives the forces.
    ensemble: what is sampled.
    timestep: fs.
    seed: of first velocities and thermostat.
    replicas: numbers of the structures' random numbers.
    skin: Å the neighbor lists reach beyond the cutoff.
    record: properties recorded between samples; None for none.
    check: thresholds of standard deviations; None for none.
    structures: as they were at the start, without results.
    engine_name: its name in `ENGINES`.
    checks_by_evaluating: whether only the first evaluation shows what cannot be computed.
    """

    engine_name: ClassVar[str]
    checks_by_evaluating: ClassVar[bool] = False

    def __init__(
        self,
        potential: Potential,
        atoms: ase.Atoms | Sequence[ase.Atoms],
        ensemble: Ensemble,
        *,
        timestep: float,
        seed: int = 0,
        velocities: FirstVelocities = "thermal",
        skin: float = 0.5,
        stress: bool = False,
        max_temperature: float | None = None,
        max_displacement: float = 0.5,
        replicas: Sequence[int] | None = None,
        record: Record | None = None,
        check: Check | None = None,
    ) -> None:
        """Prepare a simulation; nothing is computed yet.

        Args:
            potential: gives the forces; its dtype is that of the simulation.
            atoms: one structure, or several that run at once and independently; not changed.
            ensemble: one of `tensornet_jax.md`'s; its numbers may be one for each structure.
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
            check: standard deviations above which a structure stays where it is, or is marked.

        Raises:
            ValueError: what the engine cannot do, an unknown element, stress without periodic cell,
                no velocities to keep, an energy or property that the model has not got.
        """
        structures = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
        self.potential, self.ensemble = potential, ensemble
        self.record, self.check = record, check
        self.timestep, self.seed, self.skin = float(timestep), seed, float(skin)
        self.structures = tuple(map(_without_results, structures))
        self.replicas = list(range(len(structures)) if replicas is None else replicas)
        self._stress, self._max_displacement = stress, max_displacement
        self._max_temperature = max_temperature
        self._sampled: int | None = None
        _check_run(self, velocities)
        self._prepare(velocities)

    # --- what an engine brings ---------------------------------------------------------------

    @abc.abstractmethod
    def _prepare(self, velocities: FirstVelocities) -> None:
        """Make the first state; nothing is computed yet."""

    @property
    @abc.abstractmethod
    def step(self) -> int:
        """Steps done."""

    @abc.abstractmethod
    def sample(self) -> Sample:
        """Return the present state; the first call evaluates the first forces."""

    @abc.abstractmethod
    def conditions(self) -> Mapping[str, object]:
        """Return what else must be the same for a run to go on, as JSON."""

    @abc.abstractmethod
    def snapshot(self) -> Snapshot:
        """Return a copy of the present state, from which a run can go on."""

    @abc.abstractmethod
    def reproduces(self, snapshot: Snapshot) -> bool:
        """Tell whether this model has the energy and forces of a snapshot just restored."""

    @abc.abstractmethod
    def _restore(self, snapshot: Snapshot) -> None: ...

    @abc.abstractmethod
    def _advance(self, until: int) -> None: ...

    @abc.abstractmethod
    def _take_records(self) -> Records | None: ...

    @property
    @abc.abstractmethod
    def _has_forces(self) -> bool: ...

    @property
    def all_stopped(self) -> bool:
        """Whether every structure has stopped for being too uncertain."""
        return False

    # --- what all do with it -----------------------------------------------------------------

    @property
    def atoms(self) -> list[ase.Atoms]:
        """The structures as they are now, with velocities and results."""
        sample = self.sample()
        return [sample.atoms(index) for index in range(len(sample))]

    def run(
        self, steps: int, *, interval: int | None = None, observers: Sequence[Observer] = ()
    ) -> list[ase.Atoms]:
        """Take steps, and return the structures at the end with velocities and results.

        Args:
            steps: how many more.
            interval: steps between two samples; by default there is one at the end.
            observers: called with every `Sample`, that of the start included unless an earlier
                `run` has shown it; the last is that at which all structures have stopped, if they
                do.

        Raises:
            SimulationError: the simulation exploded. Observers have been given the last good
                state, at which the simulation still is.
        """
        target = self.step + steps
        interval = interval or max(steps, 1)
        try:
            if not self.sampled:
                self._show(observers)
            while self.step < target and not self.all_stopped:
                self._advance(min(target, (self.step // interval + 1) * interval))
                self._show(observers)
        except SimulationError:
            # Without first forces there is no good state to show.
            if self._has_forces and not self.sampled:
                self._show(observers)
            raise
        return self.atoms

    @property
    def sampled(self) -> bool:
        """Whether the present state has been shown to observers."""
        return self._sampled == self.step

    def restore(self, snapshot: Snapshot, *, sampled: bool = True) -> None:
        """Take over the state of a run made with the same arguments.

        Args:
            snapshot: the state.
            sampled: whether observers have seen it.
        """
        self._restore(snapshot)
        self._sampled = self.step if sampled else None

    def _show(self, observers: Sequence[Observer]) -> None:
        sample = replace(self.sample(), records=self._take_records())
        self._sampled = sample.step
        for observer in observers:
            observer(sample)

    def _highest_temperatures(
        self, now: Float[np.ndarray, " structures"]
    ) -> Float[np.ndarray, " structures"]:
        """Return above which temperatures, K, the structures have exploded.

        Args:
            now: their first temperatures, K.
        """
        if self._max_temperature is not None:
            return np.full(len(now), self._max_temperature)
        intended = self.ensemble.largest_temperature(len(now))
        return FACTOR * np.maximum(intended, now) + MARGIN


def _check_run(run: Dynamics, velocities: FirstVelocities) -> None:
    """Raise ValueError for what cannot be simulated, whatever the engine; see `__init__`."""
    structures = run.structures
    if not structures or any(len(each) == 0 for each in structures):
        raise ValueError("a simulation needs atoms: give at least one structure that has some")
    if len(run.replicas) != len(structures):
        raise ValueError(f"{len(run.replicas)} replica numbers for {len(structures)} atoms")
    wanted = {"stress": run._stress, "records": run.record is not None}
    wanted["checks"] = run.check is not None
    check_supported(run.engine_name, run.ensemble, structures, **wanted)
    _check_cells(structures, list(map(free_atoms, structures)), run.ensemble, run._stress)
    if run.record is not None:
        check_recorded(run.potential, run.record.properties, structures)
    if run.check is not None:
        check_recorded(run.potential, run.check.names, structures, "to check")
    for index, each in enumerate(structures if velocities == "keep" else ()):
        if not each.get_momenta().any():
            raise ValueError(
                f"structure {index} has no velocities to keep: use velocities: thermal"
            )


def check_supported(
    engine: str,
    ensemble: Ensemble,
    structures: Sequence[ase.Atoms],
    *,
    stress: bool,
    records: bool,
    checks: bool = False,
) -> None:
    """Raise ValueError for what an engine cannot do, with what to do.

    Args:
        engine: its name.
        ensemble: what is sampled.
        structures: at the start.
        stress: whether the stress is asked for.
        records: whether properties are recorded.
        checks: whether standard deviations are checked.
    """
    held = frozenset(type(each).__name__ for atoms in structures for each in atoms.constraints)
    demand = Demand(ensemble, len(structures), stress, records, held, checks)
    for _, reason in refusals(engine, demand):
        raise ValueError(reason)


def _without_results(atoms: ase.Atoms) -> ase.Atoms:
    template = atoms.copy()
    template.calc = None
    return template


def _check_cells(
    structures: Sequence[ase.Atoms],
    mobile: Sequence[Bool[np.ndarray, " atoms"]],
    ensemble: Ensemble,
    stress: bool,
) -> None:
    """Raise ValueError unless every structure is what its ensemble and its stress need.

    Args:
        structures: at the start.
        mobile: of each, False for fixed atoms.
        ensemble: what is sampled.
        stress: whether the stress is asked for.
    """
    for index, atoms in enumerate(structures):
        try:
            ensemble.check_structure(atoms, mobile[index])
        except ValueError as error:
            raise ValueError(f"structure {index} {error}") from None
        if (stress or ensemble.needs_volume) and atoms.cell.rank != 3:
            raise ValueError(
                f"structure {index} has no volume, to which stress and pressure refer: set a cell "
                "with three vectors, also along open directions, or do not ask for its stress"
            )
