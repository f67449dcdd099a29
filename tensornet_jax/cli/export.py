"""`tensornet-jax export`: potentials of this package for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli import bundle
from tensornet_jax.cli.bundle import (
    BundleChargeOption,
    BundleOptions,
    FormOption,
    HeadroomOption,
    PlatformOption,
    ProcessesOption,
    StructureOption,
    TypesOption,
    UnitsOption,
    WithoutE0Option,
)
from tensornet_jax.cli.common import ModelArgument, Precision, check_output
from tensornet_jax.cli.convert import Implementation
from tensornet_jax.cli.growing_output import check_new

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential


class Target(StrEnum):
    """What can be written."""

    torchmd_net = "torchmd-net"
    mace = "mace"
    stablehlo = "stablehlo"
    lammps_jax = "lammps-jax"


OutputArgument = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT",
        help="Checkpoint (.ckpt) for torchmd-net; .npz or .model for mace; folder for "
        "stablehlo; file (.json) for lammps-jax.",
        show_default=False,
    ),
]
TargetOption = Annotated[
    Target,
    typer.Option(
        help="torchmd-net: a checkpoint its load_model reads. mace: a file of mace-torch, or "
        "arrays and arguments for it. stablehlo: a compiled function with a manifest, which "
        "evaluates with jax and numpy alone. lammps-jax: a bundle for pair_style jax/kk of a "
        "Kokkos LAMMPS.",
        show_default=False,
    ),
]
ConventionOption = Annotated[
    Implementation | None,
    typer.Option(
        help="SO(3) models for torchmd-net: which of its implementations will run it; they "
        "are mirror images. warp where warp-lang is installed.",
        show_default="the model's own",
    ),
]
WrittenPrecisionOption = Annotated[
    Precision | None,
    typer.Option("--dtype", help="Precision of what is written.", show_default="the model file's"),
]
WrittenHeadOption = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="NAME",
        help="Of a model with several heads: the level of theory that is meant.",
        show_default="all for mace; for others it must be given where there are several",
    ),
]
ReplaceOption = Annotated[
    bool, typer.Option("--force", help="Overwrite an earlier export.", show_default=False)
]


def export(
    model: ModelArgument,
    output: OutputArgument,
    to: TargetOption,
    so3_convention: ConventionOption = None,
    head: WrittenHeadOption = None,
    dtype: WrittenPrecisionOption = None,
    force: ReplaceOption = False,
    types: TypesOption = None,
    structure: StructureOption = None,
    processes: ProcessesOption = None,
    form: FormOption = None,
    units: UnitsOption = None,
    platform: PlatformOption = None,
    headroom: HeadroomOption = None,
    charge: BundleChargeOption = None,
    without_reference_energies: WithoutE0Option = False,
) -> None:
    """Write a model for another program."""
    options = BundleOptions(
        *(types, structure, processes, form, units, platform, headroom, charge),
        without_reference_energies,
    )
    options.check_given(needed=to is Target.lammps_jax)
    _check(output, model, to, so3_convention, force)

    from tensornet_jax.potential.heads import with_head
    from tensornet_jax.potential.model_file import load_model

    potential = load_model(model, dtype=None if dtype is None else dtype.value)
    if head is not None or to is not Target.mace:
        potential = with_head(potential, head)
    if to is Target.torchmd_net:
        from tensornet_jax.interop.torchmd_net.export import write_checkpoint

        convention = None if so3_convention is None else so3_convention.value
        write_checkpoint(output, potential, so3_convention=convention)
    elif to is Target.mace:
        from tensornet_jax.interop.mace.files import write_for_mace

        write_for_mace(output, potential)
    elif to is Target.lammps_jax:
        bundle.write(output, potential, options)
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
