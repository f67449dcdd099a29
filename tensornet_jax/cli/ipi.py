"""`tensornet-jax i-pi`: a driver that gives i-PI the forces of a potential."""

from pathlib import Path
from typing import Annotated

import typer

from tensornet_jax.cli.common import (
    ChargeOption,
    HeadOption,
    ModelArgument,
    PrecisionOption,
    SpinOption,
)

TemplateArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TEMPLATE",
        help="File of one structure, whatever ASE reads: its elements in the order of i-PI's, and "
        "which directions repeat. Positions and cell come from i-PI.",
        show_default=False,
    ),
]
AddressOption = Annotated[
    str,
    typer.Option(
        help="Where i-PI listens: HOST:PORT for mode inet, the name in its <address> (or a path) "
        "for mode unix.",
        show_default=False,
    ),
]
ClientsOption = Annotated[
    int,
    typer.Option(
        min=1,
        help="How many connections to open; structures that come by several of them are "
        "evaluated in one call. As many as there are beads, or batch_size in i-PI's input.",
    ),
]
PatienceOption = Annotated[
    float,
    typer.Option(min=0, help="Seconds to wait for a server, at the start and when it is gone."),
]
StayOption = Annotated[
    bool, typer.Option("--stay", help="When a run has ended, wait for the next server.")
]


def ipi(
    model: ModelArgument,
    template: TemplateArgument,
    address: AddressOption,
    clients: ClientsOption = 1,
    patience: PatienceOption = 60.0,
    stay: StayOption = False,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    head: HeadOption = None,
    dtype: PrecisionOption = None,
) -> None:
    """Give an i-PI server energies, forces, virials and dipoles, until it ends.

    When the server is gone without having said so, a restart for instance, the driver connects
    to the next one at the same address.
    """
    from tensornet_jax.interop.ipi.connection import Address

    place = Address.parsed(address)

    from tensornet_jax.cli.common import open_model, read_geometries, visible_state
    from tensornet_jax.interop.ipi.client import Driver
    from tensornet_jax.interop.ipi.evaluation import Beads

    potential = open_model(model, dtype, head)
    structures = read_geometries(template, visible_state(potential, charge, spin))
    if len(structures) != 1:
        raise ValueError(
            f"{template} has {len(structures)} structures: give one, such as that i-PI starts from"
        )

    def tell(text: str) -> None:
        typer.echo(text, err=True)

    atoms = structures[0].atoms
    along = " and ".join(axis for axis, repeats in zip("abc", atoms.pbc, strict=True) if repeats)
    tell(f"{atoms.get_chemical_formula()}, periodic along {along or 'no direction'}")
    beads = Beads(potential, atoms, clients)
    driver = Driver(beads, place, clients, patience=patience, stay=stay, tell=tell)
    driver.run()
    typer.echo(
        f"{driver.num_structures} structures evaluated, at most {driver.largest_batch} in one call"
    )
