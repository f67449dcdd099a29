"""From a configuration to the run of its engine."""

from collections.abc import Sequence

import ase

from tensornet_jax.md.config import Check, FirstVelocities, MDConfig, Record
from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.engines.loading import class_of
from tensornet_jax.md.engines.registry import ENGINES
from tensornet_jax.md.ensembles.ensemble import Ensemble
from tensornet_jax.md.ensembles.registry import Langevin
from tensornet_jax.md.velocities import bring_to_rest
from tensornet_jax.potential.potential import Potential

# Replicas from this number on belong to the equilibration: its random numbers are not those of
# the run.
EQUILIBRATION = 1 << 30
# 1/fs.
EQUILIBRATION_FRICTION = 0.01


def dynamics_of(
    run: MDConfig, potential: Potential, atoms: ase.Atoms, *, going_on: bool
) -> Dynamics:
    """Return the run, equilibrated unless its state is about to come from a restart file.

    Args:
        run: the configuration.
        potential: its model.
        atoms: its start.
        going_on: there is a restart file.

    Raises:
        ValueError: the structure cannot be simulated as the configuration says; the file and the
            structure are named.
        SimulationError: the equilibration exploded.
    """
    try:
        starts, velocities = [atoms] * run.replicas, run.velocities
        if run.equilibrate and not going_on:
            starts, velocities = _equilibrated(run, potential, starts), "keep"
        dynamics = _made(
            run,
            potential,
            starts,
            run.timed_ensemble(),
            velocities,
            stress=run.stress,
            record=run.record,
            check=run.check,
        )
        if dynamics.checks_by_evaluating:
            dynamics.sample()
        return dynamics
    except ValueError as error:
        raise ValueError(f"{run.structure}, structure {run.index}: {error}") from error


def _equilibrated(
    run: MDConfig, potential: Potential, starts: Sequence[ase.Atoms]
) -> list[ase.Atoms]:
    """Return structures after some Langevin dynamics, at rest if energy is to be constant."""
    ensemble = Langevin(temperature=run.ensemble.first_temperature, friction=EQUILIBRATION_FRICTION)
    simulation = _made(
        run, potential, starts, ensemble, run.velocities, first_replica=EQUILIBRATION
    )
    finals = simulation.run(run.equilibrate)
    if run.ensemble.conserves_energy:
        for each in finals:
            bring_to_rest(each)
    return finals


def _made(
    run: MDConfig,
    potential: Potential,
    starts: Sequence[ase.Atoms],
    ensemble: Ensemble,
    velocities: FirstVelocities,
    *,
    first_replica: int = 0,
    stress: bool = False,
    record: Record | None = None,
    check: Check | None = None,
) -> Dynamics:
    return class_of(ENGINES[run.engine])(
        potential,
        starts,
        ensemble,
        timestep=run.timestep,
        seed=run.seed,
        velocities=velocities,
        skin=run.skin,
        stress=stress,
        max_temperature=run.max_temperature,
        max_displacement=run.max_displacement,
        replicas=[first_replica + index for index in range(len(starts))],
        record=record,
        check=check,
    )
