"""`tensornet-jax data`: a data set in canonical form, or packed, whatever its files looked like."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tensornet_jax.cli.common import (
    LabelOption,
    Precision,
    UnitOption,
    check_output,
    label_config,
)
from tensornet_jax.cli.passes import read_progress


class _CanonicalUnlessNamed(TyperGroup):
    """`data INPUT... OUTPUT` is `data canonical INPUT... OUTPUT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name before options too, which a group would take for its own."""
        return super().parse_args(ctx, self._named(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is meant, and its arguments."""
        return super().resolve_command(ctx, self._named(args))

    def _named(self, args: list[str]) -> list[str]:
        named = not args or args[0] in (*self.commands, "--help")
        return args if named else ["canonical", *args]


app = typer.Typer(
    cls=_CanonicalUnlessNamed,
    help="Write a data set in canonical form (data INPUT... OUTPUT), or packed.",
    no_args_is_help=True,
)

InputsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="INPUT...", help="Files with structures.", show_default=False),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing OUTPUT.")]


@app.command()
def pack(
    inputs: InputsArgument,
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="File to write (.packed).", show_default=False),
    ],
    labels: LabelOption = None,
    units: UnitOption = None,
    dtype: Annotated[
        Precision, typer.Option(help="Precision of positions, forces and tensors.")
    ] = Precision.float64,
    force: ForceOption = False,
) -> None:
    """Write structures in a form that is read by index, for data larger than memory.

    Structures are read one after the other and never held. Labels are in eV and Å; charge, spin,
    weights, tensors and the names of files and frames are kept. The audit follows in training.
    """
    from tensornet_jax.data.auditing.reading import ReadingTally
    from tensornet_jax.data.labels.canonical import check_configured
    from tensornet_jax.data.readers import data_files, labelled_frames
    from tensornet_jax.data.sources.packing import packing

    check_output(output, *inputs)
    _check_free(output, force)
    config = label_config(labels, units)
    available: set[str] = set()
    told = ReadingTally()
    with packing(output, dtype.value) as packer, read_progress("packing") as show:
        for structure in labelled_frames(data_files(inputs), config, available):
            told.add(structure)
            packer.add(structure)
            show(len(packer))
        check_configured(config, available)
        # Packing may have taken long enough for another process to have written it.
        _check_free(output, force)
    for text in told.warnings():
        typer.echo(f"warning: {text}")
    if packer.dropped:
        typer.echo(f"not kept, since training does not use them: {', '.join(packer.dropped)}")
    typer.echo(f"{len(packer)} structures packed: {output}")


@app.command()
def canonical(
    inputs: InputsArgument,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="Extended XYZ to write (.xyz, .extxyz).", show_default=False
        ),
    ],
    labels: LabelOption = None,
    units: UnitOption = None,
    force: ForceOption = False,
) -> None:
    """Audit structures and write them in one file in eV and Å, labels as REF_energy and so on.

    Charge, spin, weights, tensors and constraints are kept, numbers with every digit: reading
    OUTPUT gives the same labels, without options. Nothing is written if the audit finds an error.
    """
    from tensornet_jax.data.auditing.audit import audit
    from tensornet_jax.data.labels.canonical_file import SUFFIXES, write_canonical
    from tensornet_jax.data.readers import read_labelled
    from tensornet_jax.data.references import reference_energies

    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{output}: is written as extended XYZ: name it {output.stem}.xyz")
    check_output(output, *inputs)
    _check_free(output, force)
    config = label_config(labels, units)
    structures = read_labelled(inputs, config)
    result = audit(structures, reference_energies("least_squares", structures), config)
    typer.echo("\n".join(result.lines()))
    if result.errors:
        raise ValueError(f"the data have errors, see above: {output} is not written")
    # Reading may have taken long enough for another process to have written it.
    _check_free(output, force)
    for remark in write_canonical(output, structures):
        typer.echo(f"warning: {remark}")
    typer.echo(f"\n{len(structures)} structures written: {output}")


def _check_free(output: Path, force: bool) -> None:
    if output.exists() and not force:
        raise ValueError(f"{output} exists: choose another output, or give --force to replace it")
