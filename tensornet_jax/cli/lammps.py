"""`tensornet-jax lammps`: an input script of LAMMPS with a potential of this package."""

from pathlib import Path
from typing import Annotated

import typer

from tensornet_jax.cli.common import HeadOption, ModelArgument, PrecisionOption

InputArgument = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="Input script of LAMMPS with a line `fix NAME all tensornet SYMBOL…`, one chemical "
        "symbol for each atom type, where pair_style would be; `deviations N` at its end gives "
        "standard deviations every N steps, as f_NAME[1] and f_NAME[2].",
        show_default=False,
    ),
]
LammpsOptions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- OPTIONS]",
        help="Options of LAMMPS's own command line, such as -var T 300 -log run.log.",
        show_default=False,
    ),
]


def lammps(
    model: ModelArgument,
    script: InputArgument,
    options: LammpsOptions = None,
    charge: Annotated[float, typer.Option(help="Total charge of the box, e.")] = 0.0,
    head: HeadOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Run an input script of LAMMPS; under mpiexec on all its processes.

    Energy, virial, and those of the atoms are those of the fix: they count in thermodynamic
    output, barostats and minimizers, and in compute pe/atom and stress/atom.
    """
    from tensornet_jax.cli.common import open_model
    from tensornet_jax.interop.lammps.script import one_gpu_each, read_script, run_script
    from tensornet_jax.potential.potential import check_visible

    read_script(script)
    one_gpu_each()
    potential = open_model(model, dtype, head)
    check_visible(potential.config, charge, None)

    def tell(text: str) -> None:
        typer.echo(f"error: {text}", err=True)

    run_script(script, potential, options or (), tell=tell, charge=charge)
