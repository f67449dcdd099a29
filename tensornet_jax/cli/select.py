"""`tensornet-jax select`: which structures are worth a label."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import (
    BatchOption,
    ChargeOption,
    HeadOption,
    ModelArgument,
    PrecisionOption,
    SpinOption,
    check_output,
    open_model,
    read_geometries,
    visible_state,
)
from tensornet_jax.cli.growing_output import check_new

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensornet_jax.data.labelled_structure import LabelledStructure
    from tensornet_jax.data.readers import Refusal
    from tensornet_jax.selection.choosing import Selection


class Criterion(StrEnum):
    """What structures are chosen by."""

    deviation = "deviation"
    distance = "distance"
    determinant = "determinant"


class Uncertain(StrEnum):
    """What a deviation is of."""

    forces = "forces"
    energy = "energy"


FAILED = 1

CandidatesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="CANDIDATES...", help="Structures to choose among; any format.", show_default=False
    ),
]
OutputArgument = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT",
        help="Extended XYZ to write (.xyz, .extxyz); a table .csv comes beside it.",
        show_default=False,
    ),
]
CountOption = Annotated[int, typer.Option("-n", "--count", min=1, help="How many to choose.")]
ByOption = Annotated[
    Criterion,
    typer.Option(
        help="deviation: the least sure ones; distance: far from each other in the features of "
        "the last layer; determinant: those that together teach the last layer the most."
    ),
]
OfOption = Annotated[
    Uncertain, typer.Option(help="With --by deviation: of the forces, or of the energy per atom.")
]
LabelledOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Structures that have labels, which are not chosen again; repeatable.",
        show_default=False,
    ),
]
ClosestOption = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="Shortest distance of two atoms, in sums of their covalent radii; closer ones are "
        "left out.",
    ),
]
LargestForceOption = Annotated[
    float, typer.Option(help="Largest predicted force, eV/Å; larger ones are left out.")
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--force", help="Overwrite OUTPUT and its table if they exist."),
]


def select(
    model: ModelArgument,
    candidates: CandidatesArgument,
    output: OutputArgument,
    count: CountOption = 50,
    by: ByOption = Criterion.determinant,
    of: OfOption = Uncertain.forces,
    labelled: LabelledOption = None,
    closest: ClosestOption = 0.6,
    largest_force: LargestForceOption = 50.0,
    dtype: PrecisionOption = None,
    head: HeadOption = None,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    batch_size: BatchOption = 32,
    force: OverwriteOption = False,
) -> None:
    """Choose structures that are worth a label, and write them with the reason.

    MODEL knows how sure it is (tensornet-jax uncertainty, or a committee), unless the choice is by
    distance. Structures that repeat others, whose atoms are too close or whose predicted forces are
    absurd are left out and counted. What is chosen has no labels, and selected_rank,
    selected_score, selected_because and selected_from in its info.
    """
    from tensornet_jax.data.labels.canonical_file import SUFFIXES, write_canonical
    from tensornet_jax.selection.choosing import select as select_among
    from tensornet_jax.selection.config import SelectionConfig
    from tensornet_jax.selection.table import write_table

    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{output}: is written as extended XYZ: name it {output.stem}.xyz")
    if not largest_force > 0:
        raise ValueError(f"--largest-force {largest_force:g}: must be positive")
    table, known = output.with_suffix(".csv"), labelled or []
    for path in (output, table):
        check_output(path, model, *candidates, *known)
        check_new(path, force=force)
    potential = open_model(model, dtype, head)
    state = visible_state(potential, charge, spin)
    settings = SelectionConfig(
        count=count, by=by.value, of=of.value, closest=closest, largest_force=largest_force
    )
    refused: list[Refusal] = []
    structures = [each for path in candidates for each in read_geometries(path, state, refused)]
    others = [each for path in known for each in read_geometries(path, state)]
    found = select_among(potential, structures, settings, others, batch_size)
    for each in refused:
        typer.echo(f"left out: {each.reason}", err=True)
    _tell(found, structures)
    if not found.chosen:
        typer.echo(f"nothing is left to choose: {output} is not written", err=True)
        raise typer.Exit(FAILED)
    write_canonical(output, found.structures(structures))
    write_table(table, found, structures)
    typer.echo(f"written: {output}, {table}")


def _tell(found: "Selection", structures: "Sequence[LabelledStructure]") -> None:
    for kind, count in found.counts().items():
        first = next(k for k, each in found.left_out.items() if each.kind == kind)
        typer.echo(
            f"left out: {count} structures {kind}, e.g. {structures[first].source}: "
            f"{found.left_out[first].reason}"
        )
    typer.echo(f"chosen: {len(found.chosen)} of {len(structures)}, by {found.settings.by}")
    if found.chosen:
        first, last = found.chosen[0], found.chosen[-1]
        typer.echo(f"first: {structures[first.index].source}: {first.reason}")
        typer.echo(f"last: {structures[last.index].source}: {last.reason}")
