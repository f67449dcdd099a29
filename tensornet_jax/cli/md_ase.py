"""The same dynamics through ASE and the calculator, step by step on the host."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.simulation import FACTOR, MARGIN, Observer, Sample
from tensornet_jax.md.trajectory import SINKS, LogSink, Writer
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
    sinks = [SINKS[name](stem, 1, None) for name in run.formats]
    with Writer([*sinks, LogSink(stem, 1, None)]) as writer:
        done = 0
        while True:
            sample = _sample(atoms, done, run, freedom)
            if not np.isfinite(sample.potential_energy + sample.kinetic_energy).all():
                raise SimulationError(
                    f"the energy is no longer finite at step {done}: use a shorter timestep, or a "
                    "model trained on such structures",
                    done,
                )
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
                return f"{run.output} ({', '.join((*run.formats, 'csv'))})"
            chunk = min(run.interval, run.steps - done)
            dynamics.run(chunk)
            done += chunk


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
