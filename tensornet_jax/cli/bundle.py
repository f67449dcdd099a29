"""`tensornet-jax export --to lammps-jax`: its options, and what it tells."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential

PANEL = "For --to lammps-jax"


class Form(StrEnum):
    """Where features of other processes' atoms come from."""

    ghosts = "ghosts"
    exchange = "exchange"


class Units(StrEnum):
    """LAMMPS's units."""

    metal = "metal"
    real = "real"


class Platform(StrEnum):
    """Where LAMMPS runs."""

    cuda = "cuda"
    cpu = "cpu"


TypesOption = Annotated[
    str | None,
    typer.Option(
        metavar="SYMBOL,…",
        help="Chemical symbol of each atom type, in order, as Si,O; needed.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
StructureOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File of one structure of the size that LAMMPS will have; it says how many atoms and "
        "pairs there is room for; needed.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes over which LAMMPS will divide it.",
        show_default="1",
        rich_help_panel=PANEL,
    ),
]
FormOption = Annotated[
    Form | None,
    typer.Option(
        help="ghosts: each process computes features of its ghosts, which reach as far as "
        "messages go. exchange: they come from their owners in every layer, and ghosts reach one "
        "cutoff.",
        show_default="ghosts",
        rich_help_panel=PANEL,
    ),
]
UnitsOption = Annotated[
    Units | None,
    typer.Option(help="LAMMPS's units.", show_default="metal", rich_help_panel=PANEL),
]
PlatformOption = Annotated[
    Platform | None,
    typer.Option(help="Where LAMMPS runs.", show_default="cuda", rich_help_panel=PANEL),
]
HeadroomOption = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Factor on the room that the structure needs, since atoms move.",
        show_default="1.3",
        rich_help_panel=PANEL,
    ),
]
BundleChargeOption = Annotated[
    float | None,
    typer.Option(
        "--charge",
        help="Total charge of the box, e.",
        show_default="0",
        rich_help_panel=PANEL,
    ),
]
WithoutE0Option = Annotated[
    bool,
    typer.Option(
        "--without-reference-energies",
        help="Leave E0 of the elements out of the energy: in float32 they leave few digits to what "
        "changes.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


class BundleOptions(NamedTuple):
    """The options; None for what was not given."""

    types: str | None
    structure: Path | None
    processes: int | None
    form: Form | None
    units: Units | None
    platform: Platform | None
    headroom: float | None
    charge: float | None
    without_reference_energies: bool

    def check_given(self, *, needed: bool) -> None:
        """Raise ValueError if what is needed is missing, or if options have no use.

        Args:
            needed: whether a bundle is to be written.
        """
        if needed and (self.types is None or self.structure is None):
            raise ValueError(
                "--to lammps-jax needs --types, a chemical symbol for each atom type, and "
                "--structure, a file of one structure of the size that LAMMPS will have"
            )
        given = [name for name, value in self._asdict().items() if value not in (None, False)]
        if given and not needed:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"{options}: only with --to lammps-jax")


def write(output: Path, potential: "Potential", options: BundleOptions) -> None:
    """Write a bundle, and tell how large it is and what LAMMPS has to be told.

    Raises:
        ValueError: the file has several structures, or as of `write_bundle`.
        ImportError: lammps_jax is not installed.
    """
    from tensornet_jax.cli.common import read_geometries
    from tensornet_jax.interop.lammps_jax.bundle import HEADROOM, write_bundle

    assert options.types is not None
    assert options.structure is not None
    structures = read_geometries(options.structure)
    if len(structures) != 1:
        raise ValueError(
            f"{options.structure} has {len(structures)} structures: give one, of the size that "
            "LAMMPS will have"
        )
    units, platform = options.units or Units.metal, options.platform or Platform.cuda
    written = write_bundle(
        output,
        potential,
        [symbol.strip() for symbol in options.types.split(",")],
        structures[0].atoms,
        processes=options.processes or 1,
        form=(options.form or Form.ghosts).value,
        units=units.value,
        platform=platform.value,
        charge=options.charge or 0.0,
        reference_energies=not options.without_reference_energies,
        headroom=options.headroom or HEADROOM,
    )
    shell, sizes = written.shell, written.sizes
    typer.echo(
        f"{potential.config.name}, {potential.dtype}, for {platform.value} and units {units.value}"
    )
    typer.echo(
        f"room for {sizes.atoms} atoms and {sizes.edges} edges of a process, whose ghosts reach "
        f"{shell.distance:g} Å"
    )
    if written.left_out:
        typer.echo(f"left out: the energy offset of a structure, {written.left_out:.6g} eV")
    typer.echo(f"in LAMMPS: pair_style jax/kk PLUGIN, and then pair_coeff * * {output}")
