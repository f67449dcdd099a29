"""The command line `tensornet-jax`: one file a command, and the only room that prints.

Commands import jax and the models when they run, so that `--help` answers at once.
"""

import typer

from tensornet_jax.cli.active import active
from tensornet_jax.cli.benchmark import app as benchmark_app
from tensornet_jax.cli.common import Commands
from tensornet_jax.cli.compress import compress
from tensornet_jax.cli.config import app as config_app
from tensornet_jax.cli.convert import app as convert_app
from tensornet_jax.cli.data import app as data_app
from tensornet_jax.cli.evaluate import evaluate
from tensornet_jax.cli.export import export
from tensornet_jax.cli.fetch import fetch
from tensornet_jax.cli.inspect import inspect
from tensornet_jax.cli.ipi import ipi
from tensornet_jax.cli.lammps import lammps
from tensornet_jax.cli.md import md
from tensornet_jax.cli.models import models
from tensornet_jax.cli.predict import predict
from tensornet_jax.cli.relax import relax
from tensornet_jax.cli.select import select
from tensornet_jax.cli.spectrum import spectrum
from tensornet_jax.cli.train import train
from tensornet_jax.cli.uncertainty import uncertainty
from tensornet_jax.version import __version__

app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tensornet-jax {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Equivariant molecular potentials in JAX: train, test and run them."""


for command in (
    train,
    evaluate,
    predict,
    relax,
    md,
    lammps,
    spectrum,
    uncertainty,
    select,
    active,
    compress,
    export,
    models,
    inspect,
    fetch,
):
    app.command()(command)
app.command("i-pi")(ipi)
app.add_typer(config_app, name="config")
app.add_typer(convert_app, name="convert")
app.add_typer(data_app, name="data")
app.add_typer(benchmark_app, name="benchmark")
