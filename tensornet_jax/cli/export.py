"""`tensornet-jax export`: potentials of this package for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import HeadOption, ModelArgument, Precision, check_output
from tensornet_jax.cli.convert import Implementation
from tensornet_jax.cli.growing_output import check_new

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential


class Target(StrEnum):
    """What can be written."""

    torchmd_net = "torchmd-net"
    mace = "mace"
    stablehlo = "stablehlo"


def export(
    model: ModelArgument,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="Checkpoint (.ckpt) for torchmd-net; .npz or .model for mace; folder for "
            "stablehlo.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Target,
        typer.Option(
            help="torchmd-net: a checkpoint its load_model reads. mace: a file of mace-torch, or "
            "arrays and arguments for it. stablehlo: a compiled function with a manifest, which "
            "evaluates with jax and numpy alone.",
            show_default=False,
        ),
    ],
    so3_convention: Annotated[
        Implementation | None,
        typer.Option(
            help="SO(3) models for torchmd-net: which of its implementations will run it; they "
            "are mirror images. warp where warp-lang is installed.",
            show_default="the model's own",
        ),
    ] = None,
    head: HeadOption = None,
    dtype: Annotated[
        Precision | None,
        typer.Option(help="Precision of what is written.", show_default="the model file's"),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite an earlier export.", show_default=False),
    ] = False,
) -> None:
    """Write a model for another program."""
    _check(output, model, to, so3_convention, force)

    from tensornet_jax.potential.heads import with_head
    from tensornet_jax.potential.model_file import load_model

    potential = load_model(model, dtype=None if dtype is None else dtype.value)
    potential = with_head(potential, head)
    if to is Target.torchmd_net:
        from tensornet_jax.interop.torchmd_net.export import write_checkpoint

        convention = None if so3_convention is None else so3_convention.value
        write_checkpoint(output, potential, so3_convention=convention)
    elif to is Target.mace:
        from tensornet_jax.interop.mace.files import write_for_mace

        write_for_mace(output, potential)
    else:
        _write_stablehlo(output, potential)
    typer.echo(f"written: {output}")


def _check(
    output: Path, model: Path, to: Target, so3_convention: Implementation | None, force: bool
) -> None:
    check_output(output, model)
    if so3_convention and to is not Target.torchmd_net:
        raise ValueError("--so3-convention is for --to torchmd-net")
    if to is Target.mace:
        from tensornet_jax.interop.mace.files import check_ending

        check_ending(output)
    if to is not Target.stablehlo:
        check_new(output, force=force)
        return

    from tensornet_jax.interop.stablehlo.exported_potential import MANIFEST

    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file: give a folder to write into")
    check_new(output / MANIFEST, force=force)


def _write_stablehlo(folder: Path, potential: "Potential") -> None:
    from tensornet_jax.interop.stablehlo.export import export_stablehlo

    manifest = export_stablehlo(folder, potential)
    head = "" if manifest["head"] is None else f", head {manifest['head']}"
    typer.echo(
        f"{manifest['model']}{head}, {manifest['dtype']}, for {' and '.join(manifest['platforms'])}"
    )
    typer.echo(f"outputs: {', '.join(manifest['outputs'])}")
    if manifest["not_exported"]:
        typer.echo(f"left out: {', '.join(manifest['not_exported'])}")
