"""`tensornet-jax active`: train, explore, select, label, and train on."""

import signal
from pathlib import Path

import typer

from tensornet_jax.cli.common import prepare_process
from tensornet_jax.cli.config import ConfigArgument, OverrideOption
from tensornet_jax.cli.signals import INTERRUPTED, TERMINATED, Terminated, interrupts

FAILED, WAITING = 1, 3


def active(config: ConfigArgument, overrides: OverrideOption = None) -> None:
    """Train, explore by dynamics until the model is unsure, select, label, and train on.

    Everything lies in the directory of the loop: round-000/train, explore, selected and labelled,
    with a report for each round. A loop that was interrupted or killed goes on when the same
    command is given again, with the same choices. With label: {name: wait} it ends with exit code 3
    while structures wait for labels.
    """
    from tensornet_jax.active.config import ActiveConfig
    from tensornet_jax.config import load_config

    loop = load_config(config, ActiveConfig, overrides or ())
    for path in loop.explore:
        if not Path(path.structure).exists():
            raise ValueError(f"explore.structure: {path.structure}: no such file")

    from tensornet_jax.active.labelling.programs import WaitingForLabels
    from tensornet_jax.active.loop import run
    from tensornet_jax.cli.progress import TerminalReporter
    from tensornet_jax.runtime.checkpoint import CheckpointError
    from tensornet_jax.train.failure import TrainingError

    prepare_process()
    try:
        with interrupts(signal.SIGINT, signal.SIGTERM) as raise_what_came:

            def tell(text: str) -> None:
                raise_what_came()
                typer.echo(text)

            result = run(loop, message=tell, reporter=TerminalReporter)
    except WaitingForLabels as waiting:
        typer.echo(str(waiting))
        raise typer.Exit(WAITING) from None
    except (TrainingError, CheckpointError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as interrupt:
        typer.echo(
            f"interrupted; what {loop.directory} holds is whole: the same command goes on", err=True
        )
        terminated = isinstance(interrupt, Terminated)
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
    typer.echo(f"ended: {result.ending}")
    typer.echo(f"written: {result.model}, {result.report}")
