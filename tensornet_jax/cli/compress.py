"""`tensornet-jax compress`: a faster form of a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from tensornet_jax.cli.common import (
    HeadOption,
    ModelArgument,
    check_output,
    open_model,
    read_geometries,
    symbols_to_numbers,
)


def compress(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Model file to write.", show_default=False)
    ],
    tolerance: Annotated[
        float, typer.Option(help="Largest error allowed, eV/atom and eV/Å.")
    ] = 1e-5,
    structures: Annotated[
        Path | None,
        typer.Option(
            help="Structures to measure the error on.", show_default="random clusters of atoms"
        ),
    ] = None,
    head: HeadOption = None,
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="H,C,O",
            help="Elements to keep: the fewer, the faster, up to 16 above all.",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Tabulate what a model computes of distances alone: faster, the same within a tolerance."""
    check_output(output, model)
    frames = None if structures is None else [each.atoms for each in read_geometries(structures)]

    from tensornet_jax.potential.compress import compress as compressed
    from tensornet_jax.potential.elements import with_elements
    from tensornet_jax.potential.model_file import save_model

    potential = open_model(model, None, head)
    if elements is not None:
        potential = with_elements(potential, symbols_to_numbers(elements))
    result = compressed(potential, tolerance, frames)
    save_model(output, result)
    facts, tables = result.metadata["compression"], result.config.compression
    assert tables is not None
    typer.echo(
        f"{tables.rank} splines of {tables.intervals} pieces; largest errors on "
        f"{facts['structures']} structures: {facts['max_error_energy_eV_per_atom']:.1e} eV/atom, "
        f"{facts['max_error_forces_eV_per_A']:.1e} eV/Å"
    )
    typer.echo(f"written: {output}")
