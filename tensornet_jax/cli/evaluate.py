"""`tensornet-jax evaluate`: the errors of a model on labelled structures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tensornet_jax.cli.common import (
    BatchOption,
    DevicesOption,
    LabelOption,
    ModelArgument,
    PrecisionOption,
    StatedHeadOption,
    UnitOption,
    check_output,
    label_config,
    open_devices,
    open_model,
    read_for_model,
)
from tensornet_jax.cli.growing_output import check_new


def evaluate(
    model: ModelArgument,
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Labelled structures.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write the table to this CSV file."),
    ] = None,
    head: StatedHeadOption = None,
    dtype: PrecisionOption = None,
    batch_size: BatchOption = 32,
    devices: DevicesOption = None,
    labels: LabelOption = None,
    units: UnitOption = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Also write an HTML file with tables, plots and the worst structures, for a "
            "browser.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite what is written if it exists.", show_default=False),
    ] = False,
) -> None:
    """Print MAE and RMSE per property, per element and per config_type, for each file."""
    if report is not None and report.suffix != ".html":
        raise ValueError(f"--report {report}: name a file that ends in .html")
    for path in (output, report):
        if path is not None:
            check_output(path, model, *data)
            check_new(path, force=force)
    config = label_config(labels, units)
    potential = open_model(model, dtype, head, one_head=False)
    own = open_devices(devices)

    from tensornet_jax.train.evaluation.errors import error_table, evaluate_structures
    from tensornet_jax.train.evaluation.metrics import render, write_rows
    from tensornet_jax.train.reporting.html.evaluation import EvaluationPage

    rows = []
    page = EvaluationPage(f"{model.name} on {', '.join(_names(data))}", potential)
    for path, name in zip(data, _names(data), strict=True):
        structures = read_for_model(path, potential, config)
        predictions = evaluate_structures(potential, structures, batch_size, own)
        table = error_table(name, structures, predictions, potential.tensor_heads)
        if not table.rows():
            raise ValueError(
                f"{path}: no label that this model predicts ({', '.join(potential.properties)}): "
                "name its keys with --label"
            )
        rows += table.rows()
        if report is not None:
            page.add(name, structures, predictions, table.rows())
    typer.echo("\n".join(render(rows)))
    if output is not None:
        write_rows(output, rows)
        typer.echo(f"\nwritten: {output}")
    if report is not None:
        page.page().write(report)
        typer.echo(f"\nwritten: {report}")


def _names(paths: Sequence[Path]) -> list[str]:
    """Return file names without suffix where that is enough to tell the files apart."""
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else str(path) for path in paths]
