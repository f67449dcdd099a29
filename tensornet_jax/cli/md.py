"""`tensornet-jax md`: molecular dynamics as a configuration says."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tensornet_jax.cli.common import (
    Precision,
    check_output,
    open_model,
    read_geometries,
    set_state,
)
from tensornet_jax.cli.config import ConfigArgument, OverrideOption

if TYPE_CHECKING:
    from ase import Atoms

    from tensornet_jax.md.config import MDConfig
    from tensornet_jax.md.simulation import Observer, Sample
    from tensornet_jax.potential import Potential

FAILED = 1
INTERRUPTED = 130

# Replicas from this number on belong to the equilibration: its random numbers are not those of
# the run.
EQUILIBRATION = 1 << 30
# 1/fs.
EQUILIBRATION_FRICTION = 0.01


def md(config: ConfigArgument, overrides: OverrideOption = None) -> None:
    """Run molecular dynamics; write trajectory, log, recorded properties, restart file and plot.

    An interrupted run goes on where its last restart file was written when the same command is
    given again. A simulation that explodes stops at its last good step with exit code 1.
    """
    from tensornet_jax.config import load_config
    from tensornet_jax.md.config import MDConfig

    run = load_config(config, MDConfig, overrides or ())
    stem = Path(run.output)
    for suffix in (".csv", ".png", ".restart", ".xyz", ".traj", ".h5", ".series.h5"):
        check_output(stem.with_name(stem.name + suffix), Path(run.model), Path(run.structure))
    potential = open_model(Path(run.model), Precision(run.dtype))
    atoms = _start(run)
    set_state(potential, [atoms], run.charge, run.spin)

    from tensornet_jax.cli.md_ase import simulate_with_ase
    from tensornet_jax.cli.md_report import Rows, plot, summary
    from tensornet_jax.md.limits import SimulationError

    rows = Rows()
    simulate: Callable[..., str] = simulate_with_ase if run.engine == "ase" else _on_device
    try:
        with _progress() as bar:
            task = bar.add_task("", total=run.steps)

            def show(sample: "Sample") -> None:
                bar.update(task, completed=sample.step)

            written = simulate(run, potential, atoms, (rows, show))
    except SimulationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        typer.echo("interrupted: the same command goes on from the last restart file", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if len(rows):
        for line in summary(rows, len(atoms), run.ensemble.name):
            typer.echo(line)
        if run.plot:
            written += f", {plot(rows, len(atoms), run.ensemble.name, stem)}"
    typer.echo(f"written: {written}")


def _on_device(
    run: "MDConfig", potential: "Potential", atoms: "Atoms", observers: "tuple[Observer, ...]"
) -> str:
    """Run in one compiled loop; return what was written."""
    from tensornet_jax.md.recorder import RESTART_SUFFIX, Recorder
    from tensornet_jax.md.simulation import Simulation

    stem = Path(run.output)
    going_on = run.resume and stem.with_name(stem.name + RESTART_SUFFIX).exists()
    starts, velocities = [atoms] * run.replicas, run.velocities
    if run.equilibrate and not going_on:
        starts, velocities = _equilibrated(run, potential, starts), "keep"
    simulation = Simulation(
        potential,
        starts,
        run.ensemble,
        timestep=run.timestep,
        seed=run.seed,
        velocities=velocities,
        skin=run.skin,
        stress=run.stress,
        max_temperature=run.max_temperature,
        max_displacement=run.max_displacement,
        record=run.record,
    )
    with Recorder(
        simulation,
        run.output,
        run.formats,
        restart_every=run.restart_every,
        resume=run.resume,
    ) as recorder:
        if recorder.resumed:
            typer.echo(f"going on from step {simulation.step} of {recorder.restart}")
        if simulation.step >= run.steps:
            typer.echo(
                f"all {run.steps} steps are done: raise steps to go on, or start anew with "
                "--set resume=false"
            )
        else:
            steps = run.steps - simulation.step
            simulation.run(steps, interval=run.interval, observers=(recorder, *observers))
    return f"{run.output} ({', '.join((*run.formats, *run.logs(), 'restart'))})"


def _equilibrated(run: "MDConfig", potential: "Potential", starts: "list[Atoms]") -> "list[Atoms]":
    """Return structures after some Langevin dynamics, at rest if energy is to be constant."""
    from tensornet_jax.md.config import NVE, Langevin
    from tensornet_jax.md.simulation import Simulation
    from tensornet_jax.md.velocities import bring_to_rest

    ensemble = Langevin(temperature=run.ensemble.temperature, friction=EQUILIBRATION_FRICTION)
    finals = Simulation(
        potential,
        starts,
        ensemble,
        timestep=run.timestep,
        seed=run.seed,
        velocities=run.velocities,
        skin=run.skin,
        max_temperature=run.max_temperature,
        max_displacement=run.max_displacement,
        replicas=[EQUILIBRATION + index for index in range(run.replicas)],
    ).run(run.equilibrate)
    if isinstance(run.ensemble, NVE):
        for each in finals:
            bring_to_rest(each)
    return finals


def _start(run: "MDConfig") -> "Atoms":
    structures = read_geometries(Path(run.structure))
    try:
        atoms = structures[run.index]
    except IndexError:
        raise ValueError(
            f"index {run.index}: {run.structure} has {len(structures)} structures"
        ) from None
    if run.velocities == "keep" and not atoms.get_momenta().any():
        raise ValueError(
            f"{run.structure}: structure {run.index} has no velocities: use velocities: thermal"
        )
    return atoms


def _progress() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    return Progress(BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
