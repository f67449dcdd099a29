"""From a configuration to the run of its engine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tensornet_jax.md.config import NVE, Langevin
from tensornet_jax.md.engines.ase import AseSimulation
from tensornet_jax.md.engines.device import Simulation
from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.integrators.ensembles import first_value
from tensornet_jax.md.velocities import bring_to_rest

if TYPE_CHECKING:
    from ase import Atoms

    from tensornet_jax.md.config import MDConfig
    from tensornet_jax.potential.potential import Potential

# Replicas from this number on belong to the equilibration: its random numbers are not those of
# the run.
EQUILIBRATION = 1 << 30
# 1/fs.
EQUILIBRATION_FRICTION = 0.01


def dynamics_of(
    run: "MDConfig", potential: "Potential", atoms: "Atoms", *, going_on: bool
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
        dynamics = _dynamics(
            run,
            potential,
            starts,
            run.timed_ensemble(),
            velocities=velocities,
            stress=run.stress,
            record=run.record,
        )
        if run.engine == "ase":
            # Only the calculator tells whether it can do with the structure, and only when asked.
            dynamics.sample()
        return dynamics
    except ValueError as error:
        raise ValueError(f"{run.structure}, structure {run.index}: {error}") from error


def _equilibrated(run: "MDConfig", potential: "Potential", starts: "list[Atoms]") -> "list[Atoms]":
    """Return structures after some Langevin dynamics, at rest if energy is to be constant."""
    temperature = first_value(run.ensemble.temperature)
    ensemble = Langevin(temperature=temperature, friction=EQUILIBRATION_FRICTION)
    simulation = _dynamics(
        run, potential, starts, ensemble, velocities=run.velocities, stream=EQUILIBRATION
    )
    finals = simulation.run(run.equilibrate)
    if isinstance(run.ensemble, NVE):
        for each in finals:
            bring_to_rest(each)
    return finals


def _dynamics(
    run: "MDConfig",
    potential: "Potential",
    starts: "Sequence[Atoms]",
    ensemble: Any,
    *,
    stream: int = 0,
    **settings: Any,
) -> Dynamics:
    settings |= {
        "timestep": run.timestep,
        "seed": run.seed,
        "skin": run.skin,
        "max_temperature": run.max_temperature,
        "max_displacement": run.max_displacement,
    }
    if run.engine == "ase":
        from tensornet_jax.calculator import TensorNetCalculator

        (start,) = starts
        calculator = TensorNetCalculator(potential, skin=run.skin)
        return AseSimulation(potential, start, calculator, ensemble, stream=stream, **settings)
    replicas = [stream + index for index in range(run.replicas)]
    return Simulation(potential, starts, ensemble, replicas=replicas, **settings)
