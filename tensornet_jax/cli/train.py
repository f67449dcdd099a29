"""`tensornet-jax train`: train a model as a configuration says."""

from typing import Annotated

import typer

from tensornet_jax.cli.common import prepare_process
from tensornet_jax.cli.config import ConfigArgument, OverrideOption
from tensornet_jax.cli.signals import INTERRUPTED

FAILED = 1


ResumeOption = Annotated[
    bool, typer.Option(help="Go on from the last checkpoint in the run directory, if any.")
]
CoordinatorOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Where process 0 of several is found; not needed under srun and mpirun.",
        show_default=False,
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(min=1, help="How many processes train together.", show_default="as started"),
]
ProcessIdOption = Annotated[
    int | None,
    typer.Option(min=0, help="Which of them this is, from 0.", show_default="as started"),
]


def train(
    config: ConfigArgument,
    overrides: OverrideOption = None,
    resume: ResumeOption = True,
    coordinator: CoordinatorOption = None,
    processes: ProcessesOption = None,
    process_id: ProcessIdOption = None,
) -> None:
    """Train a model; everything it writes lies in the run directory.

    An interrupted run (Ctrl-C) goes on where it stopped when the same command is given again. A
    second run in the same directory is refused as long as the first goes on.

    All devices of this process share every batch (training.devices). Started by srun or mpirun, or
    with --coordinator, --processes and --process-id, several processes train together.
    """
    from tensornet_jax.config import load_config
    from tensornet_jax.train.config.run import RunConfig

    run = load_config(config, RunConfig, overrides or ())

    from tensornet_jax.cli.progress import TerminalReporter
    from tensornet_jax.runtime.checkpoint import CheckpointError
    from tensornet_jax.runtime.processes import (
        LostProcessError,
        end_process,
        is_first,
        join_processes,
    )
    from tensornet_jax.train.failure import TrainingError
    from tensornet_jax.train.run import train as train_run

    prepare_process()
    join_processes(coordinator, processes, process_id)
    try:
        reporter = TerminalReporter() if is_first() else None
        result = train_run(run, resume=resume, reporter=reporter)
    except LostProcessError as error:
        typer.echo(f"error: {error}", err=True)
        end_process(FAILED)
    except (TrainingError, CheckpointError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        # Outside the steps, which end in good order by themselves.
        typer.echo(
            f"interrupted; what {run.directory} holds is whole: the same command goes on", err=True
        )
        end_process(INTERRUPTED)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
