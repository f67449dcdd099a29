"""What every engine of molecular dynamics has in common: a state, samples of it, and going on."""

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import ase

from tensornet_jax.md.config import Ensemble, Record
from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.output.records import Records
from tensornet_jax.md.output.restart_file import Snapshot
from tensornet_jax.md.sample import Observer, Sample
from tensornet_jax.potential.potential import Potential

# Where none is given, a simulation has exploded above FACTOR × its temperature + MARGIN, K.
FACTOR, MARGIN = 10.0, 5000.0


class Dynamics(abc.ABC):
    """Molecular dynamics that observers see at intervals, and that a restart file can continue.

    potential: gives the forces.
    ensemble: what is sampled.
    timestep: fs.
    seed: of first velocities and thermostat.
    replicas: numbers of the structures' random numbers.
    skin: Å the neighbor lists reach beyond the cutoff.
    record: properties recorded between samples; None for none.
    structures: as they were at the start, without results.
    """

    engine_name: ClassVar[str]

    potential: Potential
    ensemble: Ensemble
    timestep: float
    seed: int
    replicas: list[int]
    skin: float
    record: Record | None
    structures: tuple[ase.Atoms, ...]
    _sampled: int | None = None

    # --- what an engine brings ---------------------------------------------------------------

    @property
    @abc.abstractmethod
    def step(self) -> int:
        """Steps done."""

    @abc.abstractmethod
    def sample(self) -> Sample:
        """Return the present state; the first call evaluates the first forces."""

    @abc.abstractmethod
    def conditions(self) -> dict[str, Any]:
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
