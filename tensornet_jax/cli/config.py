"""`tensornet-jax config`: write a template, print the JSON schema, check a file."""

import json
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensornet_jax.active.config import ActiveConfig
    from tensornet_jax.md.config import MDConfig
    from tensornet_jax.train.config.run import RunConfig

app = typer.Typer(
    help="Write, describe and check configurations of training, dynamics and loops.",
    no_args_is_help=True,
)

OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting, e.g. optimizer.learning_rate=1e-4; repeatable.",
        show_default=False,
    ),
]
ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file.", show_default=False)
]
DynamicsOption = Annotated[
    bool, typer.Option("--md", help="Of molecular dynamics, not of training.")
]
LoopOption = Annotated[
    bool, typer.Option("--active", help="Of a loop of active learning, not of training.")
]


@app.command()
def template(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="the terminal"),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model whose settings to write: tensornet, mace, escn.")
    ] = "tensornet",
    dynamics: DynamicsOption = False,
    loop: LoopOption = False,
) -> None:
    """Write a configuration with every setting, its default and what it means."""
    from tensornet_jax.cli.template import config_template

    given = {} if dynamics or loop else {"model": {"name": model}}
    text = config_template(_schema(dynamics, loop), given)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{output} exists already: delete it or choose another name") from None


@app.command()
def schema(dynamics: DynamicsOption = False, loop: LoopOption = False) -> None:
    """Print the JSON schema, for editors that check YAML while it is typed."""
    from tensornet_jax.config import config_schema

    typer.echo(json.dumps(config_schema(_schema(dynamics, loop)), indent=2, ensure_ascii=False))


@app.command()
def validate(
    config: ConfigArgument,
    overrides: OverrideOption = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the configuration with all defaults.")
    ] = False,
    dynamics: DynamicsOption = False,
    loop: LoopOption = False,
) -> None:
    """Check a configuration and the files it names."""
    from tensornet_jax.config import dump_config, load_config

    run = load_config(config, _schema(dynamics, loop), overrides or ())
    missing = [path for path in run.files() if not _matches(path)]
    if missing:
        raise ValueError(
            f"{config}: no such file: {', '.join(missing)} (paths are relative to the current "
            f"directory, {Path.cwd()})"
        )
    run = _resolved(run)
    typer.echo(dump_config(run) if show else f"{config} is valid", nl=not show)


def _schema(dynamics: bool, loop: bool) -> "type[RunConfig] | type[MDConfig] | type[ActiveConfig]":
    if dynamics and loop:
        raise ValueError("--md and --active are of different files: give one of them")
    if loop:
        from tensornet_jax.active.config import ActiveConfig

        return ActiveConfig
    if dynamics:
        from tensornet_jax.md.config import MDConfig

        return MDConfig
    from tensornet_jax.train.config.run import RunConfig

    return RunConfig


def _resolved(
    run: "RunConfig | MDConfig | ActiveConfig",
) -> "RunConfig | MDConfig | ActiveConfig":
    """Return the configuration with what it takes from the model it starts from, if any."""
    from tensornet_jax.train.config.run import RunConfig

    if not isinstance(run, RunConfig) or run.start is None:
        return run
    from tensornet_jax.train.finetune.start import resolve

    return resolve(run, Path(run.directory), begun=False, message=typer.echo)


def _matches(path: str) -> bool:
    """Return whether a file, or a file of this pattern, is there."""
    # Path.glob takes no absolute patterns.
    return Path(path).exists() or bool(glob(path, recursive=True))  # noqa: PTH207
