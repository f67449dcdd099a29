"""`tensornet-jax models`: public potentials, and how to get and convert them."""

from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import symbols_to_numbers
from tensornet_jax.cli.convert import FEW

if TYPE_CHECKING:
    from tensornet_jax.data.published.catalogue import PublicPotential


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Describe this one.", show_default="list all"),
    ] = None,
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="SI,O,…", help="List those that know all these elements.", show_default="any"
        ),
    ] = None,
) -> None:
    """List public potentials that can be converted; nothing is downloaded."""
    from ase.data import chemical_symbols

    from tensornet_jax.data.published.catalogue import load_catalogue

    catalogue = load_catalogue()
    if name is not None:
        for line in _description(catalogue.named(name)):
            typer.echo(line)
    else:
        wanted = [] if elements is None else symbols_to_numbers(elements)
        found = catalogue.with_elements([chemical_symbols[number] for number in wanted])
        if not found:
            raise ValueError(f"no potential of the catalogue knows all of {elements}")
        for line in _table(found):
            typer.echo(line)
        typer.echo("\nOne in full: tensornet-jax models NAME")
    typer.echo(f"As of {catalogue.checked}, from what the publishers say of them.")


def _table(potentials: "tuple[PublicPotential, ...]") -> list[str]:
    rows = [("name", "elements", "level of theory", "license")]
    for p in potentials:
        symbols = f" {' '.join(p.elements)}" if len(p.elements) <= FEW else ""
        elements = f"{len(p.elements)}{symbols}"
        rows.append((p.name, elements, p.level_of_theory or "", p.license or ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _description(potential: "PublicPotential") -> list[str]:
    facts = {
        "publisher": potential.publisher,
        "license": potential.license,
        "model": potential.architecture,
        "for": potential.scope,
        "level of theory": potential.level_of_theory,
        "reference": potential.reference,
        "elements": f"{len(potential.elements)}: {' '.join(potential.elements)}",
    }
    lines = [potential.name, *(f"{key:<16} {value}" for key, value in facts.items() if value)]
    return [
        *lines,
        "",
        f"Fetch {' and '.join(potential.files)} from",
        f"  {potential.page}",
        "then",
        f"  {potential.convert}",
        "",
    ]
