"""`tensornet-jax train`: train a model as a configuration says."""

from typing import Annotated

import typer

from tensornet_jax.cli.common import prepare_process
from tensornet_jax.cli.config import ConfigArgument, OverrideOption

FAILED = 1
INTERRUPTED = 130


def train(
    config: ConfigArgument,
    overrides: OverrideOption = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from the last checkpoint in the run directory, if any.")
    ] = True,
) -> None:
    """Train a model; everything it writes lies in the run directory.

    An interrupted run (Ctrl-C) goes on where it stopped when the same command is given again. A
    second run in the same directory is refused as long as the first goes on.
    """
    from tensornet_jax.config import load_config
    from tensornet_jax.train.config.run import RunConfig

    run = load_config(config, RunConfig, overrides or ())

    from tensornet_jax.cli.progress import TerminalReporter
    from tensornet_jax.runtime.checkpoint import CheckpointError
    from tensornet_jax.train.failure import TrainingError
    from tensornet_jax.train.run import train as train_run

    prepare_process()
    try:
        result = train_run(run, resume=resume, reporter=TerminalReporter())
    except (TrainingError, CheckpointError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt:
        # Outside the steps, which end in good order by themselves.
        typer.echo(
            f"interrupted; what {run.directory} holds is whole: the same command goes on", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
