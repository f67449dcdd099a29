"""`tensornet-jax convert`: potentials of other programs as model files of this package."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import Precision, check_output, symbols_to_numbers

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential

app = typer.Typer(
    no_args_is_help=True,
    help="Turn potentials of other programs into model files; see tensornet-jax models.",
)


FEW = 16
"""Up to so many elements are shown one by one."""


class Implementation(StrEnum):
    """torchmd-net's implementations of SO(3) models."""

    python = "python"
    warp = "warp"


class FilterLayout(StrEnum):
    """How torchmd-net lays out three filters a channel."""

    auto = "auto"
    new = "(3,F)"
    old = "(F,3)"


CheckpointArgument = Annotated[
    Path,
    typer.Argument(metavar="CKPT", help="Checkpoint (.ckpt) or .npz of it.", show_default=False),
]
OutputArgument = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="Model file to write.", show_default=False)
]
DtypeOption = Annotated[
    Precision | None,
    typer.Option("--dtype", help="Precision of the model.", show_default="the checkpoint's"),
]
ElementsOption = Annotated[
    str | None,
    typer.Option(
        metavar="H,C,…",
        help="Elements the model was trained on; others are then refused. torchmd-net does not "
        "store them.",
        show_default="every one the checkpoint has a row for",
    ),
]
ChargesOption = Annotated[
    str | None,
    typer.Option(
        "--charges",
        metavar="-1,0,…",
        help="Total charges it was trained on, e; others then cause a warning. Checkpoints don't "
        "say.",
        show_default="not known: any but 0 causes a warning",
    ),
]


@app.command("torchmd-net")
def torchmd_net(
    checkpoint: CheckpointArgument,
    output: OutputArgument,
    so3_convention: Annotated[
        Implementation | None,
        typer.Option(
            help="SO(3) models: which of torchmd-net's implementations trained it; they are "
            "mirror images. warp where warp-lang was installed.",
            show_default="must be given where it matters",
        ),
    ] = None,
    layout: Annotated[
        FilterLayout,
        typer.Option(help="Layout of the filters; (F,3) before torchmd-net 3."),
    ] = FilterLayout.auto,
    elements: ElementsOption = None,
    energy_unit: Annotated[
        str, typer.Option(help="Unit of the energies it was trained on; checkpoints don't say.")
    ] = "eV",
    charges: ChargesOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Convert a TensorNet or TensorNet2 of torchmd-net."""
    check_output(output, checkpoint)
    numbers = None if elements is None else symbols_to_numbers(elements)
    seen = _charges(charges)

    from tensornet_jax.interop.torchmd_net.checkpoint import from_checkpoint
    from tensornet_jax.models.tensornet.config import TensorNetConfig

    potential = from_checkpoint(
        checkpoint,
        so3_convention=None if so3_convention is None else so3_convention.value,
        layout=layout.value,
        elements=numbers,
        energy_unit=energy_unit,
        dtype=None if dtype is None else dtype.value,
    )
    facts = [f"filters laid out {potential.metadata['layout']}"]
    assert isinstance(potential.config, TensorNetConfig)
    if potential.config.group == "SO(3)":
        facts.append(f"edges as torchmd-net's {potential.metadata['so3_convention']} code has them")
    typer.echo(f"read: {', '.join(facts)}")
    _save(output, potential, seen)


@app.command()
def aceff(
    checkpoint: CheckpointArgument,
    output: OutputArgument,
    coulomb_cutoff: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="AceFF-2.0: Å within which charges see each other; periodic structures need it.",
            show_default="all pairs of a molecule",
        ),
    ] = None,
    charges: ChargesOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Convert an AceFF potential of Acellera, version 1.0, 1.1 or 2.0."""
    check_output(output, checkpoint)
    seen = _charges(charges)

    from tensornet_jax.interop.aceff import from_checkpoint

    potential = from_checkpoint(
        checkpoint,
        coulomb_cutoff=coulomb_cutoff,
        dtype=None if dtype is None else dtype.value,
    )
    typer.echo(f"read: energies {potential.metadata['energies']}")
    _save(output, potential, seen)


@app.command()
def matgl(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with model.json and state.pt.", show_default=False
        ),
    ],
    output: OutputArgument,
    dtype: DtypeOption = None,
) -> None:
    """Convert a TensorNet potential of MatGL, such as those of MatPES."""
    check_output(output, folder / "model.json", folder / "state.pt")

    from tensornet_jax.interop.matgl import from_directory

    potential = from_directory(folder, dtype=None if dtype is None else dtype.value)
    typer.echo(f"read: messages as in {potential.metadata['message_convention']}")
    _save(output, potential)


@app.command()
def mace(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A .model file of mace-torch; nothing in it is run.",
            show_default=False,
        ),
    ],
    output: OutputArgument,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a model with several heads: the one to take.",
            show_default="all of them",
        ),
    ] = None,
    charges: ChargesOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Convert a MACE of mace-torch, such as MACE-MP-0, MPA-0, OFF23, MH-1 or OMOL."""
    check_output(output, model)
    seen = _charges(charges)

    from tensornet_jax.interop.mace import from_model_file

    potential = from_model_file(model, head=head, dtype=None if dtype is None else dtype.value)
    first = next(iter(potential.metadata.get("heads", {}).values()), potential.metadata)
    names = potential.config.levels or first["config"]["heads"]
    count = "head" if len(names) == 1 else "heads"
    typer.echo(f"read: {first['config']['interaction_cls']}, {count} {', '.join(names)}")
    _save(output, potential, seen)


def _charges(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(sorted({float(each) + 0.0 for each in text.split(",")}))
    except ValueError:
        raise ValueError(
            f"--charges {text}: write total charges in e with commas, e.g. -1,0,1"
        ) from None


def _save(output: Path, potential: "Potential", charges: tuple[float, ...] | None = None) -> None:
    from tensornet_jax.potential.model_file import save_model
    from tensornet_jax.potential.trained_on import TrainedOn, with_record

    if charges is not None:
        record = with_record(potential.metadata, TrainedOn(charges=charges))
        potential = potential.replace(metadata=record)
    save_model(output, potential)
    symbols = potential.elements.symbols
    count = f"{len(symbols)} elements" if len(symbols) > FEW else ", ".join(symbols)
    typer.echo(
        f"{potential.config.name}, {potential.num_parameters:,} parameters, {potential.dtype}, "
        f"cutoff {potential.cutoff:g} Å, {count}"
    )
    typer.echo(f"written: {output}")
