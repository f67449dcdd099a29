"""`tensornet-jax evaluate`: the errors of a model on labelled structures."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential
    from tensornet_jax.train.reporting.reliability_plot import Reliability


UNCERTAIN = "energy_std"
"""What every model with an uncertainty has."""

DataArgument = Annotated[
    list[Path],
    typer.Argument(metavar="DATA...", help="Labelled structures.", show_default=False),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Also write the table to this CSV file."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Also write an HTML file with tables, plots and the worst structures, for a browser.",
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Overwrite what is written if it exists.", show_default=False),
]
ReliabilityOption = Annotated[
    Path | None,
    typer.Option(
        metavar="STEM",
        help="Also write how right the standard deviations of a model that has them are: "
        "STEM.csv, and STEM.png with diagrams (of several files STEM-NAME.png).",
    ),
]


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    output: OutputOption = None,
    head: StatedHeadOption = None,
    dtype: PrecisionOption = None,
    batch_size: BatchOption = 32,
    devices: DevicesOption = None,
    labels: LabelOption = None,
    units: UnitOption = None,
    report: ReportOption = None,
    force: ForceOption = False,
    reliability: ReliabilityOption = None,
) -> None:
    """Print MAE and RMSE per property, per element and per config_type, for each file.

    Of a model that was given an uncertainty, print also how right its standard deviations are.
    """
    if report is not None and report.suffix != ".html":
        raise ValueError(f"--report {report}: name a file that ends in .html")
    names = _names(data)
    diagrams = _diagrams(reliability, names)
    written = (output, report, _table_of(reliability), *diagrams.values())
    _check_written([path for path in written if path is not None], (model, *data), force=force)
    config = label_config(labels, units)
    potential = open_model(model, dtype, head, one_head=False)
    if reliability is not None:
        _check_uncertain(model, potential)
    own = open_devices(devices)

    from tensornet_jax.train.evaluation.errors import error_table, evaluate_structures
    from tensornet_jax.train.evaluation.metrics import render, write_rows
    from tensornet_jax.train.reporting.html.evaluation import EvaluationPage
    from tensornet_jax.train.reporting.reliability_plot import Reliability

    rows, found = [], []
    page = EvaluationPage(f"{model.name} on {', '.join(names)}", potential)
    for path, name in zip(data, names, strict=True):
        structures = read_for_model(path, potential, config)
        predictions = evaluate_structures(potential, structures, batch_size, own, deviations=True)
        found.append(Reliability.of(name, structures, predictions))
        table = error_table(name, structures, predictions, potential.tensor_heads)
        if not table.rows():
            raise ValueError(
                f"{path}: no label that this model predicts ({', '.join(potential.properties)}): "
                "name its keys with --label"
            )
        rows += table.rows()
        if report is not None:
            page.add(name, structures, predictions, table.rows(), found[-1])
    typer.echo("\n".join(render(rows)))
    if output is not None:
        write_rows(output, rows)
        typer.echo(f"\nwritten: {output}")
    if report is not None:
        page.page().write(report)
        typer.echo(f"\nwritten: {report}")
    if UNCERTAIN in potential.properties:
        _tell_reliability(found, _table_of(reliability), diagrams)


def _check_written(paths: Iterable[Path], read: Iterable[Path], *, force: bool) -> None:
    """Raise an error if what is to be written is also read, or exists and `force` is not given."""
    for path in paths:
        check_output(path, *read)
        check_new(path, force=force)


def _check_uncertain(model: Path, potential: "Potential") -> None:
    """Raise ValueError if there are no standard deviations whose reliability could be told."""
    if UNCERTAIN not in potential.properties:
        raise ValueError(
            f"--reliability: {model} knows no standard deviations: make it one that does with "
            "tensornet-jax uncertainty"
        )


def _tell_reliability(
    found: "Sequence[Reliability]", table: Path | None, diagrams: Mapping[str, Path]
) -> None:
    """Print how right standard deviations are, and write it where it is wanted."""
    from tensornet_jax.train.evaluation.kinds import render_kinds
    from tensornet_jax.train.evaluation.reliability import render_reliability, write_reliability

    rows = [row for each in found for row in each.rows]
    typer.echo("\n" + "\n".join(render_reliability(rows)))
    kinds = [kind for each in found for kind in each.kinds]
    if kinds:
        typer.echo("\n" + "\n".join(render_kinds(kinds)))
    if table is None:
        return
    write_reliability(table, rows)
    written = [table]
    for each in found:
        if each.found and each.name in diagrams:
            diagrams[each.name].write_bytes(each.picture)
            written.append(diagrams[each.name])
    typer.echo(f"\nwritten: {', '.join(map(str, written))}")


def _table_of(stem: Path | None) -> Path | None:
    return None if stem is None else stem.with_name(f"{stem.name}.csv")


def _diagrams(stem: Path | None, names: Sequence[str]) -> dict[str, Path]:
    """Return where the diagrams of each file go, by the file's name."""
    if stem is None:
        return {}
    if len(names) == 1:
        return {names[0]: stem.with_name(f"{stem.name}.png")}
    plain = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    return {n: stem.with_name(f"{stem.name}-{p}.png") for n, p in zip(names, plain, strict=True)}


def _names(paths: Sequence[Path]) -> list[str]:
    """Return file names without suffix where that is enough to tell the files apart."""
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else str(path) for path in paths]
