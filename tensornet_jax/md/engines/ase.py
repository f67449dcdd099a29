"""The engine on the host: ASE's integrators and a calculator, step by step."""

import copy
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import thermalize_momenta

from tensornet_jax.md.config import FirstVelocities
from tensornet_jax.md.engines.ase_checks import AseChecks
from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.ensembles.ensemble import AseThermostat
from tensornet_jax.md.ensembles.numbers import Ramp
from tensornet_jax.md.limits import REMEDY, SimulationError
from tensornet_jax.md.output.ase_records import AseRecords
from tensornet_jax.md.output.records import Records
from tensornet_jax.md.output.restart_file import Snapshot
from tensornet_jax.md.sample import Sample
from tensornet_jax.md.velocities import without_conserved_motion


class AseSimulation(Dynamics):
    """Molecular dynamics of one structure by ASE.

    Slower than `Simulation`, and with every constraint that ASE has. A continued run is the
    uninterrupted one but for rounding, since its neighbor lists are made anew.
    """

    engine_name: ClassVar[str] = "ase"
    checks_by_evaluating: ClassVar[bool] = True

    def _prepare(self, velocities: FirstVelocities) -> None:
        self.potential.config.require_energy()
        self._step, self._ready = 0, False
        (stream,) = self.replicas
        self._rng = np.random.default_rng([self.seed, stream] if stream else self.seed)
        self._atoms = self.structures[0].copy()
        self._atoms.calc = self._calculator()
        (temperature,) = np.atleast_1d(self.ensemble.first_temperature)
        if velocities == "thermal":
            thermalize_momenta(self._atoms, temperature_K=temperature, rng=self._rng)
        elif velocities == "rest":
            self._atoms.set_momenta(np.zeros((len(self._atoms), 3)))
        at_rest = without_conserved_motion(self._atoms, self.ensemble, kept=velocities == "keep")
        self._degrees_of_freedom = self._atoms.get_number_of_degrees_of_freedom() - at_rest
        (self._hottest,) = self._highest_temperatures(np.array([self._temperature()]))
        timestep = self.timestep * units.fs
        self._dynamics = self.ensemble.ase_dynamics(self._atoms, timestep, self._rng)
        self._records = AseRecords(self.record, self.potential, self.timestep)
        self._checks = AseChecks(self.check, self.potential)

    def _calculator(self) -> Calculator:
        from tensornet_jax.calculator import TensorNetCalculator

        return TensorNetCalculator(self.potential, skin=self.skin)

    @property
    def step(self) -> int:
        """Steps done."""
        return self._step

    def sample(self) -> Sample:
        """Return the present state; the first call evaluates the first forces."""
        if not self._ready:
            self._evaluate_first()
        atoms, energy = self._atoms, float(self._atoms.get_potential_energy())
        kinetic = float(atoms.get_kinetic_energy())
        conserved = energy + kinetic if self.ensemble.conserves_energy else np.nan
        stress = None
        if self._stress:
            stress = atoms.get_stress(voigt=False, apply_constraint=False)[None]
        return Sample(
            step=self._step,
            time=self._step * self.timestep,
            positions=atoms.get_positions(),
            velocities=atoms.get_velocities() * units.fs,
            forces=atoms.get_forces(apply_constraint=False).copy(),
            cell=atoms.cell.array[None].copy(),
            potential_energy=np.array([energy]),
            kinetic_energy=np.array([kinetic]),
            temperature=np.array([self._temperature()]),
            conserved=np.array([conserved]),
            stress=stress,
            templates=self.structures,
            findings=self._checks.findings,
        )

    def conditions(self) -> Mapping[str, object]:
        """Return what else must be the same for a run to go on, as JSON."""
        return {"constraints": [str(each.todict()) for each in self.structures[0].constraints]}

    def snapshot(self) -> Snapshot:
        """Return a copy of the present state, from which a run can go on."""
        arrays = {
            "positions": self._atoms.get_positions(),
            "momenta": self._atoms.get_momenta(),
            # The name that files of every version have.
            "freedom": np.array(self._degrees_of_freedom),
        }
        generator = self._rng.bit_generator.state
        details = {"random numbers": copy.deepcopy(generator), **self._checks.saved()}
        return Snapshot(self._step, details, arrays)

    def reproduces(self, snapshot: Snapshot) -> bool:
        """Tell whether this model has the energy and forces of a snapshot: it has none of them."""
        return False

    def _restore(self, snapshot: Snapshot) -> None:
        self._step = snapshot.step
        self._rng.bit_generator.state = snapshot.details["random numbers"]
        self._degrees_of_freedom = int(snapshot.arrays["freedom"])
        self._place(snapshot)
        self._ready = False
        self._checks.restore(snapshot.details)
        self._records = AseRecords(self.record, self.potential, self.timestep)

    def _place(self, snapshot: Snapshot) -> None:
        # Constraints would hold what they hold at the present place.
        constraints, self._atoms.constraints = self._atoms.constraints, []
        self._atoms.set_positions(snapshot.arrays["positions"])
        self._atoms.set_momenta(snapshot.arrays["momenta"])
        self._atoms.set_constraint(constraints)

    def _advance(self, until: int) -> None:
        if not self._ready:
            self._evaluate_first()
        while self._step < until and not self.all_stopped:
            before = self.snapshot()
            self._set_temperature()
            try:
                self._dynamics.step()
                self._check_step(self._step + 1)
            except (SimulationError, ValueError) as error:
                # Where the run still is: at the last good step.
                self._rng.bit_generator.state = before.details["random numbers"]
                self._place(before)
                if isinstance(error, SimulationError):
                    raise
                raise SimulationError(
                    f"the simulation explodes at step {self._step + 1}: {error}. {REMEDY}",
                    self._step,
                ) from error
            self._step += 1
            self._records.note(self._atoms, self._step, self._degrees_of_freedom)
            self._checks.look(self._atoms, self._step)

    @property
    def all_stopped(self) -> bool:
        """Whether the structure has stopped for being too uncertain."""
        findings = self._checks.findings
        return findings is not None and findings.all_stopped

    def _take_records(self) -> Records | None:
        return self._records.take()

    @property
    def _has_forces(self) -> bool:
        return self._ready

    def _evaluate_first(self) -> None:
        forces = self._atoms.get_forces(apply_constraint=False)
        energy = self._atoms.get_potential_energy()
        if not (np.isfinite(forces).all() and np.isfinite(energy)):
            raise SimulationError(
                f"the energy is no longer finite at step {self._step}: {REMEDY}", self._step
            )
        self._ready = True
        if self._step == 0:
            self._records.note(self._atoms, 0, self._degrees_of_freedom)
            self._checks.look(self._atoms, 0)

    def _check_step(self, step: int) -> None:
        """Raise SimulationError unless the step that was just taken is a sound one."""
        where = f"the simulation explodes at step {step}"
        energy = self._atoms.get_potential_energy() + self._atoms.get_kinetic_energy()
        speeds = np.linalg.norm(self._atoms.get_velocities(), axis=1)
        if not (np.isfinite(energy) and np.isfinite(speeds).all()):
            raise SimulationError(f"{where}: the energy is no longer finite. {REMEDY}", step - 1)
        atom = int(speeds.argmax())
        way = speeds[atom] * self.timestep * units.fs
        if way > self._max_displacement:
            raise SimulationError(
                f"{where}: atom {atom} ({self._atoms[atom].symbol}) moves {way:.3g} Å in one "
                f"step (limit {self._max_displacement:g} Å). {REMEDY}",
                step - 1,
            )
        temperature = self._temperature()
        if temperature > self._hottest:
            raise SimulationError(
                f"{where}: the temperature is {temperature:.6g} K (limit {self._hottest:g} K). "
                f"{REMEDY}",
                step - 1,
            )

    def _temperature(self) -> float:
        kinetic = float(self._atoms.get_kinetic_energy())
        return 2 * kinetic / (max(self._degrees_of_freedom, 1) * units.kB)

    def _set_temperature(self) -> None:
        ramp = self.ensemble.temperature
        if isinstance(ramp, Ramp) and isinstance(self._dynamics, AseThermostat):
            time = (self._step + 1) * self.timestep
            (temperature,) = np.atleast_1d(ramp.at(time, "temperature"))
            self._dynamics.set_temperature(temperature_K=float(temperature))
