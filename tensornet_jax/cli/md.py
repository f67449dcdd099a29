"""`tensornet-jax md`: molecular dynamics as a configuration says."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tensornet_jax.cli.common import (
    Precision,
    State,
    check_output,
    open_model,
    read_geometries,
    visible_state,
)
from tensornet_jax.cli.config import ConfigArgument, OverrideOption
from tensornet_jax.cli.signals import INTERRUPTED, TERMINATED, Terminated, interrupts

if TYPE_CHECKING:
    from ase import Atoms
    from rich.progress import Progress

    from tensornet_jax.md.config import MDConfig
    from tensornet_jax.md.engines.dynamics import Dynamics
    from tensornet_jax.md.output.recorder import Recorder
    from tensornet_jax.md.sample import Sample

FAILED = 1

SUFFIXES = (".csv", ".png", ".restart", ".lock", ".xyz", ".traj", ".h5", ".series.h5")


def md(config: ConfigArgument, overrides: OverrideOption = None) -> None:
    """Run molecular dynamics; write trajectory, log, recorded properties, restart file and plot.

    An interrupted or killed run goes on when the same command is given again. Files that it cannot
    go on with are left alone, with exit code 2. A simulation that explodes stops at its last good
    step with exit code 1.
    """
    from tensornet_jax.config import load_config
    from tensornet_jax.md.config import MDConfig

    run = load_config(config, MDConfig, overrides or ())
    stem = Path(run.output)
    for suffix in SUFFIXES:
        check_output(stem.with_name(stem.name + suffix), Path(run.model), Path(run.structure))

    from tensornet_jax.md.limits import SimulationError
    from tensornet_jax.md.output.recorder import output_lock

    recorder = None
    try:
        with interrupts(signal.SIGINT, signal.SIGTERM) as raise_what_came, output_lock(stem):
            recorder = _opened(run)
            _simulate(run, recorder, raise_what_came)
    except SimulationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        what = "terminated" if terminated else "interrupted"
        typer.echo(f"{what}: {_what_is_left(run, recorder)}", err=True)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None


def _opened(run: "MDConfig") -> "Recorder":
    """Return what records the run, which goes on from its restart file if there is one."""
    from tensornet_jax.md.output.recorder import Recorder, check_free, restart_path, sinks_of
    from tensornet_jax.md.simulation import dynamics_of

    going_on = run.resume and restart_path(run.output).exists()
    if run.resume and not going_on:
        # Before an equilibration that would be for nothing.
        sinks = sinks_of(run.formats, records=run.record is not None)
        check_free(run.output, sinks.values(), run.replicas)
    potential = open_model(Path(run.model), Precision(run.dtype), run.head)
    atoms = _start(run, visible_state(potential, run.charge, run.spin))
    return Recorder(
        dynamics_of(run, potential, atoms, going_on=going_on),
        run.output,
        run.formats,
        restart_every=run.restart_every,
        resume=run.resume,
        locked=True,
    )


def _simulate(run: "MDConfig", recorder: "Recorder", raise_what_came: Callable[[], None]) -> None:
    """Take the steps that are left, and tell what came of them."""
    simulation = recorder.simulation
    with recorder, _progress() as bar:
        task = bar.add_task("", total=run.steps)

        def show(sample: "Sample") -> None:
            bar.update(task, completed=sample.step)
            raise_what_came()

        if recorder.resumed:
            typer.echo(f"going on from step {simulation.step} of {recorder.restart}")
        if recorder.resumed and simulation.step >= run.steps:
            typer.echo(
                f"all {run.steps} steps are done: raise steps to go on, or start anew with "
                "--set resume=false, which overwrites them"
            )
        else:
            simulation.run(
                run.steps - simulation.step,
                interval=run.interval,
                observers=(recorder, show),
            )
    _tell_stopped(simulation)
    _report(run, len(simulation.structures[0]))


def _tell_stopped(simulation: "Dynamics") -> None:
    """Tell which replicas were too uncertain to go on."""
    findings = simulation.sample().findings
    for index, step in enumerate([] if findings is None else findings.stopped):
        if findings is not None and step >= 0:
            sizes = (f"{name} {values[index]:.3g}" for name, values in findings.largest.items())
            which = f"replica {index}: " if len(simulation.structures) > 1 else ""
            typer.echo(f"{which}stopped at step {step}, too uncertain: {', '.join(sizes)}")


def _report(run: "MDConfig", num_atoms: int) -> None:
    """Sum up all of the run, earlier parts included, and draw it."""
    from tensornet_jax.cli.md_report import Log, plot, summary
    from tensornet_jax.md.output.trajectory import LogSink

    written = f"{run.output} ({', '.join((*run.formats, *run.logs(), 'restart'))})"
    (path,) = LogSink.paths(Path(run.output), run.replicas)
    log = Log.read(path)
    for line in summary(log, num_atoms, run.ensemble):
        typer.echo(line)
    if run.plot:
        written += f", {plot(log, num_atoms, run.ensemble, Path(run.output))}"
    typer.echo(f"written: {written}")


def _what_is_left(run: "MDConfig", recorder: "Recorder | None") -> str:
    """Return, for a message, what the same command will do."""
    from tensornet_jax.md.output.recorder import last_saved_step

    begun = recorder is not None and recorder.begun
    step = last_saved_step(run.output)
    if step is None or not (run.resume or begun):
        return "no sample has been written; the same command starts from the beginning"
    text = f"{run.output} has all samples up to step {step}"
    if run.resume:
        return f"{text}; the same command goes on from there"
    return (
        f"{text}; with --set resume=true the same command goes on from there (resume: false, as it "
        "is, would overwrite them)"
    )


def _start(run: "MDConfig", state: State) -> "Atoms":
    structures = read_geometries(Path(run.structure), state)
    try:
        atoms = structures[run.index].to_atoms(notes=False)
    except IndexError:
        raise ValueError(
            f"index {run.index}: {run.structure} has {len(structures)} structures"
        ) from None
    if run.velocities == "keep" and not atoms.get_momenta().any():
        raise ValueError(
            f"{run.structure}: structure {run.index} has no velocities: use velocities: thermal"
        )
    return atoms


def _progress() -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from tensornet_jax.cli.terminal import console

    columns = (BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
    return Progress(*columns, console=console())
