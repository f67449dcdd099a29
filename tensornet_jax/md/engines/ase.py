"""The engine on the host: ASE's integrators and a calculator, step by step."""

import copy
from typing import Any, ClassVar, Literal

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.langevin import Langevin as AseLangevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from tensornet_jax.md.cells import check_cells
from tensornet_jax.md.config import NVE, Langevin, Ramp, Record
from tensornet_jax.md.engines.dynamics import FACTOR, MARGIN, Dynamics
from tensornet_jax.md.integrators.ensembles import first_value, largest_temperature
from tensornet_jax.md.limits import REMEDY, SimulationError
from tensornet_jax.md.output.ase_records import AseRecords
from tensornet_jax.md.output.records import Records, check_recorded
from tensornet_jax.md.output.restart_file import Snapshot
from tensornet_jax.md.sample import Sample
from tensornet_jax.md.velocities import bring_to_rest, motions_at_rest
from tensornet_jax.potential.potential import Potential


class AseSimulation(Dynamics):
    """Molecular dynamics of one structure by ASE: constant energy, or Langevin dynamics.

    Slower than `Simulation`, and with every constraint that ASE has. A continued run is the
    uninterrupted one but for rounding, since its neighbor lists are made anew.
    """

    engine_name: ClassVar[str] = "ase"

    def __init__(
        self,
        potential: Potential,
        atoms: ase.Atoms,
        calculator: Calculator,
        ensemble: NVE | Langevin,
        *,
        timestep: float,
        seed: int = 0,
        stream: int = 0,
        velocities: Literal["thermal", "keep", "rest"] = "thermal",
        skin: float = 0.5,
        stress: bool = False,
        max_temperature: float | None = None,
        max_displacement: float = 0.5,
        record: Record | None = None,
    ) -> None:
        """Prepare a simulation; nothing is computed yet.

        Args:
            potential: what the calculator computes with; evaluates what is recorded.
            atoms: the structure; not changed.
            calculator: gives energy and forces.
            ensemble: NVE or Langevin.
            timestep: fs.
            seed: of first velocities and thermostat.
            stream: which of the seed's random numbers; those of two streams are independent.
            velocities: as of `Simulation`.
            skin: Å that the calculator's neighbor list reaches beyond the cutoff; only noted here.
            stress: compute the stress of every sample.
            max_temperature: K above which the simulation has exploded, as of `Simulation`.
            max_displacement: Å in one step above which it has exploded.
            record: properties to record between samples.

        Raises:
            ValueError: velocities to keep that are not there, a stress without volume, a property
                to record that the model does not predict.
        """
        check_cells([atoms], [np.ones(len(atoms), bool)], ensemble, stress)
        if record is not None:
            check_recorded(potential, record.properties, [atoms])
        if velocities == "keep" and not atoms.get_momenta().any():
            raise ValueError("structure 0 has no velocities to keep: use velocities: thermal")
        self.potential, self.ensemble, self.record = potential, ensemble, record
        self.timestep, self.seed, self.skin = float(timestep), seed, float(skin)
        self.replicas = [0]
        template = atoms.copy()
        template.calc = None
        self.structures = (template,)
        self._stress = stress
        self._step, self._ready = 0, False
        self._rng = np.random.default_rng([seed, stream] if stream else seed)
        self._atoms = atoms.copy()
        self._atoms.calc = calculator
        (temperature,) = np.atleast_1d(first_value(ensemble.temperature))
        if velocities == "thermal":
            thermalize_momenta(self._atoms, temperature_K=temperature, rng=self._rng)
        elif velocities == "rest":
            self._atoms.set_momenta(np.zeros((len(atoms), 3)))
        at_rest = 0
        if isinstance(ensemble, NVE):
            kept = velocities == "keep"
            at_rest = motions_at_rest(self._atoms) if kept else bring_to_rest(self._atoms)
        self._freedom = self._atoms.get_number_of_degrees_of_freedom() - at_rest
        (highest,) = largest_temperature(ensemble, 1)
        self._hottest = max_temperature or FACTOR * max(highest, self._temperature()) + MARGIN
        self._farthest = max_displacement
        self._dynamics = self._integrator()
        self._records = AseRecords(record, potential, self.timestep)

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
        conserved = energy + kinetic if isinstance(self.ensemble, NVE) else np.nan
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
        )

    def conditions(self) -> dict[str, Any]:
        """Return what else must be the same for a run to go on, as JSON."""
        return {"constraints": [str(each.todict()) for each in self.structures[0].constraints]}

    def snapshot(self) -> Snapshot:
        """Return a copy of the present state, from which a run can go on."""
        arrays = {
            "positions": self._atoms.get_positions(),
            "momenta": self._atoms.get_momenta(),
            "freedom": np.array(self._freedom),
        }
        generator: Any = self._rng.bit_generator.state
        return Snapshot(self._step, {"random numbers": copy.deepcopy(generator)}, arrays)

    def reproduces(self, snapshot: Snapshot) -> bool:
        """Tell whether this model has the energy and forces of a snapshot: it has none of them."""
        return False

    def _restore(self, snapshot: Snapshot) -> None:
        self._step = snapshot.step
        self._rng.bit_generator.state = snapshot.details["random numbers"]
        self._freedom = int(snapshot.arrays["freedom"])
        self._place(snapshot)
        self._ready = False
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
        while self._step < until:
            before = self.snapshot()
            self._set_temperature()
            try:
                self._dynamics.step()
                self._check(self._step + 1)
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
            self._records.note(self._atoms, self._step, self._freedom)

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
            self._records.note(self._atoms, 0, self._freedom)

    def _check(self, step: int) -> None:
        """Raise SimulationError unless the step that was just taken is a sound one."""
        where = f"the simulation explodes at step {step}"
        energy = self._atoms.get_potential_energy() + self._atoms.get_kinetic_energy()
        speeds = np.linalg.norm(self._atoms.get_velocities(), axis=1)
        if not (np.isfinite(energy) and np.isfinite(speeds).all()):
            raise SimulationError(f"{where}: the energy is no longer finite. {REMEDY}", step - 1)
        atom = int(speeds.argmax())
        way = speeds[atom] * self.timestep * units.fs
        if way > self._farthest:
            raise SimulationError(
                f"{where}: atom {atom} ({self._atoms[atom].symbol}) moves {way:.3g} Å in one "
                f"step (limit {self._farthest:g} Å). {REMEDY}",
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
        return 2 * kinetic / (max(self._freedom, 1) * units.kB)

    def _integrator(self) -> Any:
        if not isinstance(self.ensemble, Langevin):
            return VelocityVerlet(self._atoms, self.timestep * units.fs)
        (friction,) = np.atleast_1d(self.ensemble.friction)
        (temperature,) = np.atleast_1d(first_value(self.ensemble.temperature))
        return AseLangevin(
            self._atoms,
            self.timestep * units.fs,
            temperature_K=float(temperature),
            friction=float(friction) / units.fs,
            fixcm=False,
            rng=self._rng,
        )

    def _set_temperature(self) -> None:
        ramp = self.ensemble.temperature
        if not isinstance(ramp, Ramp):
            return
        (start,), (end,) = np.atleast_1d(ramp.start), np.atleast_1d(ramp.end)
        if ramp.time is None:
            raise ValueError("the ramp of the temperature needs the time that it takes: give time")
        done = min((self._step + 1) * self.timestep / ramp.time, 1.0)
        self._dynamics.set_temperature(temperature_K=float(start + (end - start) * done))
