"""`tensornet-jax data`: a data set in canonical form, whatever its files looked like."""

from pathlib import Path
from typing import Annotated

import typer

from tensornet_jax.cli.common import LabelOption, UnitOption, check_output, label_config


def data(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Files with structures.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="Extended XYZ to write (.xyz, .extxyz).", show_default=False
        ),
    ],
    labels: LabelOption = None,
    units: UnitOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing OUTPUT.")] = False,
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
