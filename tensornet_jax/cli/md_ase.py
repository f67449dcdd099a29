"""The same dynamics through ASE and the calculator, step by step on the host."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from tensornet_jax.graph.electrons import total_charge
from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.records import Records, check_recorded, recorded_units
from tensornet_jax.md.series import SeriesSink
from tensornet_jax.md.simulation import FACTOR, MARGIN, Observer, Sample
from tensornet_jax.md.trajectory import SINKS, LogSink, Sink, Writer
from tensornet_jax.md.velocities import bring_to_rest, motions_at_rest

if TYPE_CHECKING:
    from ase import Atoms

    from tensornet_jax.md.config import MDConfig
    from tensornet_jax.potential import Potential

EQUILIBRATION_FRICTION = 0.01


def simulate_with_ase(
    run: "MDConfig", potential: "Potential", atoms: "Atoms", observers: tuple[Observer, ...]
) -> str:
    """Run with ASE's integrators; return what was written.

    Raises:
        SimulationError: energy or temperature left all bounds.
    """
    from tensornet_jax.calculator import TensorNetCalculator

    if run.record is not None:
        check_recorded(potential, run.record.properties, [atoms])
    (temperature,) = np.atleast_1d(run.ensemble.temperature)
    rng = np.random.default_rng(run.seed)
    atoms = atoms.copy()
    atoms.calc = TensorNetCalculator(potential)
    if run.velocities == "thermal":
        thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    if run.equilibrate:
        _langevin(atoms, run.timestep, temperature, EQUILIBRATION_FRICTION, rng).run(
            run.equilibrate
        )
    at_rest = 0
    if run.ensemble.name == "nve":
        keeps = run.velocities == "keep" and not run.equilibrate
        at_rest = motions_at_rest(atoms) if keeps else bring_to_rest(atoms)
        dynamics: Any = VelocityVerlet(atoms, run.timestep * units.fs)
    else:
        friction = float(np.atleast_1d(getattr(run.ensemble, "friction"))[0])  # noqa: B009
        dynamics = _langevin(atoms, run.timestep, temperature, friction, rng)
    freedom = atoms.get_number_of_degrees_of_freedom() - at_rest
    limit = run.max_temperature or FACTOR * temperature + MARGIN
    stem = Path(run.output)
    sinks: list[Sink] = [SINKS[name](stem, 1, None) for name in run.formats]
    sinks.append(LogSink(stem, 1, None))
    if run.record is not None:
        sinks.append(SeriesSink(stem, 1, None))
    recorded = _Recorded(run, potential)
    with Writer(sinks) as writer:
        done = 0
        recorded.note(atoms, done, freedom)
        while True:
            sample = _sample(atoms, done, run, freedom)
            if not np.isfinite(sample.potential_energy + sample.kinetic_energy).all():
                raise SimulationError(
                    f"the energy is no longer finite at step {done}: use a shorter timestep, or a "
                    "model trained on such structures",
                    done,
                )
            sample = replace(sample, records=recorded.take())
            writer(sample)
            for observer in observers:
                observer(sample)
            if sample.temperature[0] > limit:
                raise SimulationError(
                    f"the temperature is {sample.temperature[0]:.6g} K at step {done} (limit "
                    f"{limit:g} K): use a shorter timestep, or a model trained on such structures",
                    done,
                )
            if done == run.steps:
                return f"{run.output} ({', '.join((*run.formats, *run.logs()))})"
            until = min(run.steps, done + run.interval)
            while done < until:
                chunk = min(until, recorded.next(done)) - done
                dynamics.run(chunk)
                done += chunk
                recorded.note(atoms, done, freedom)


class _Recorded:
    """Properties of one structure, evaluated where they are due, until a sample takes them."""

    def __init__(self, run: "MDConfig", potential: "Potential") -> None:
        self._run = run
        self._potential = potential
        self._rows: list[tuple[int, float, float, dict[str, np.ndarray]]] = []

    def next(self, step: int) -> int:
        """Return the first step after this one at which a record is due."""
        if self._run.record is None:
            return self._run.steps
        interval = self._run.record.interval
        return (step // interval + 1) * interval

    def note(self, atoms: "Atoms", step: int, freedom: int) -> None:
        """Evaluate the properties if they are due."""
        if self._run.record is None or step % self._run.record.interval:
            return
        (values,) = self._potential.evaluate(atoms, self._run.record.properties)
        if "dipole" in values and self._potential.config.has_atomic_dipoles:
            # About the origin, as data have it; records have it about the centre of mass.
            values["dipole"] -= total_charge(atoms) * atoms.get_center_of_mass()
        temperature = 2 * float(atoms.get_kinetic_energy()) / (freedom * units.kB)
        self._rows.append((step, temperature, abs(np.linalg.det(atoms.cell.array)), values))

    def take(self) -> Records | None:
        """Return what was noted since the last call, or None if that is nothing."""
        if not self._rows:
            return None
        steps, temperatures, volumes, values = zip(*self._rows, strict=True)
        self._rows = []
        per_atom = self._potential.per_atom & frozenset(values[0])
        step = np.array(steps)
        stacked = {name: np.stack([each[name] for each in values]) for name in values[0]}
        return Records(
            step=step,
            time=step * self._run.timestep,
            temperature=np.array(temperatures)[:, None],
            volume=np.array(volumes)[:, None],
            values={
                name: rows if name in per_atom else rows[:, None] for name, rows in stacked.items()
            },
            per_atom=per_atom,
            units=recorded_units(self._potential, tuple(stacked)),
        )


def _langevin(
    atoms: "Atoms", timestep: float, temperature: float, friction: float, rng: Any
) -> Langevin:
    return Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=friction / units.fs,
        fixcm=False,
        rng=rng,
    )


def _sample(atoms: "Atoms", step: int, run: "MDConfig", freedom: int) -> Sample:
    potential = float(atoms.get_potential_energy())
    kinetic = float(atoms.get_kinetic_energy())
    template = atoms.copy()
    template.calc = None
    conserved = potential + kinetic if run.ensemble.name == "nve" else np.nan
    return Sample(
        step=step,
        time=step * run.timestep,
        positions=atoms.get_positions(),
        velocities=atoms.get_velocities() * units.fs,
        forces=atoms.get_forces(apply_constraint=False),
        cell=atoms.cell.array[None].copy(),
        potential_energy=np.array([potential]),
        kinetic_energy=np.array([kinetic]),
        temperature=np.array([2 * kinetic / (freedom * units.kB)]),
        conserved=np.array([conserved]),
        stress=None,
        templates=(template,),
    )
