"""The report of a run: error table, parity plots, learning curves and one page that shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references_by_head import References
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.runtime.markdown import markdown_table
from tensornet_jax.runtime.processes import is_first
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.sources import files_of
from tensornet_jax.train.data.datasets import DataSets
from tensornet_jax.train.evaluation.errors import error_table, evaluate_structures
from tensornet_jax.train.evaluation.metrics import ErrorRow, render, shown_unit, summary, write_rows
from tensornet_jax.train.evaluation.reliability import write_reliability
from tensornet_jax.train.optimization.losses import active_terms
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.reporting.html.page import (
    ABOUT_DEVIATIONS,
    Drawings,
    Page,
    table,
    text_block,
)
from tensornet_jax.train.reporting.html.panels import learning_curves, panels, worst
from tensornet_jax.train.reporting.plots import parities, plot_learning_curves, plot_parity
from tensornet_jax.train.reporting.reliability_plot import Reliability
from tensornet_jax.train.reporting.result import RunFacts
from tensornet_jax.train.run_directory import ReportFiles, RunDirectory


def evaluate_sets(
    files: ReportFiles,
    potential: Potential,
    sets: Mapping[str, Sequence[LabelledStructure]],
    references: References,
    batch_size: int,
    devices: Devices = ONE_DEVICE,
) -> tuple[list[ErrorRow], Drawings]:
    """Evaluate a potential on several sets and draw a parity plot of each.

    Returns the errors, and what the HTML page draws.

    Args:
        files: where plots and errors go; the folder is created when missing.
        potential: the potential.
        sets: structures with labels, by name.
        references: isolated-atom energies, to plot energies relative to.
        batch_size: structures evaluated at a time, on each device.
        devices: that share the structures; of several processes the first one draws.
    """
    files.path.mkdir(parents=True, exist_ok=True)
    heads = potential.tensor_heads
    rows: list[ErrorRow] = []
    drawn = Drawings()
    for name, structures in sets.items():
        predictions = evaluate_structures(
            potential, structures, batch_size, devices, deviations=True
        )
        own = error_table(name, structures, predictions, heads).rows()
        rows += own
        if not is_first():
            continue
        found = parities(structures, predictions, references, heads)
        drawn.panels.extend(panels(found, structures, own))
        drawn.worst.extend(worst(name, structures, predictions, heads))
        if found:
            count = f"{len(structures):,} structures"
            plot_parity(files.parity(name), f"{name}: {count}", found)
        reliability = Reliability.of(name, structures, predictions)
        if reliability.found:
            drawn.reliability.append(reliability)
            files.reliability_of(name).write_bytes(reliability.picture)
    write_rows(files.errors, rows)
    if drawn.reliability:
        write_reliability(files.reliability, (r for each in drawn.reliability for r in each.rows))
    return rows, drawn


def errors_before(
    files: ReportFiles,
    potential: Potential,
    sets: Mapping[str, Sequence[LabelledStructure]],
    batch_size: int,
    devices: Devices = ONE_DEVICE,
) -> list[ErrorRow]:
    """Return the errors of the potential that training started from.

    Args:
        files: where they go; the folder exists.
        potential: before the first step.
        sets: structures with labels, by name.
        batch_size: structures evaluated at a time, on each device.
        devices: that share the structures.
    """
    rows = []
    # Without metadata it does not warn of what it is about to be trained on.
    potential = potential.replace(metadata={})
    for name, structures in sets.items():
        predictions = evaluate_structures(potential, structures, batch_size, devices)
        rows += error_table(name, structures, predictions, potential.tensor_heads).rows()
    write_rows(files.errors_before, rows)
    return rows


def write_report(
    directory: RunDirectory,
    config: ResolvedRun,
    data: DataSets,
    rows: Sequence[ErrorRow],
    facts: RunFacts,
    before: Sequence[ErrorRow] = (),
    drawn: Drawings | None = None,
) -> None:
    """Write the learning curves and the pages that show everything.

    Args:
        directory: the run directory, with the logs and what `evaluate_sets` wrote.
        config: the resolved configuration.
        data: the data sets.
        rows: the errors.
        facts: what else is to be said.
        before: the errors of the model that the run started from.
        drawn: of all sets, for the HTML page.
    """
    train = read_rows(directory.train_log)
    validation = read_rows(directory.validation_log) if facts.validated else []
    best = facts.best_epoch if facts.validated else None
    units = {head.name: head.unit for head in config.model.tensors}
    plot_learning_curves(directory.report.learning_curves, train, validation, best, units)
    drawn = replace(drawn or Drawings(), curves=learning_curves(train, validation, best, units))
    _write_html(directory.report, config, data, rows, facts, before, drawn)
    page = [
        f"# {Path(config.directory).name}",
        "",
        *_errors(rows, facts.validated),
        *_comparison(before, rows),
        *_plots(directory.report, data),
        *_reliability(directory.report, data),
        "## Run",
        "",
        *markdown_table(("", ""), [*facts.items().items()]),
        "",
        "## Configuration",
        "",
        *markdown_table(("", ""), [*_settings(config).items()]),
        "",
        "Everything, defaults included: [config.yaml](../config.yaml).",
        "",
        "## Training data",
        "",
        "```text",
        *data.lines(),
        "```",
        "",
        *_details(rows),
    ]
    directory.report.page.write_text("\n".join(page), encoding="utf-8")


def _write_html(
    files: ReportFiles,
    config: ResolvedRun,
    data: DataSets,
    rows: Sequence[ErrorRow],
    facts: RunFacts,
    before: Sequence[ErrorRow],
    drawn: Drawings,
) -> None:
    """Write the page for browsers."""
    page = Page(Path(config.directory).name)
    page.errors("Errors", summary(rows), *_of_what(facts.validated))
    if before:
        header, *lines = _compared(before, rows)
        page.section("Against the starting model", table(header, lines))
    page.drawings(drawn)
    page.facts("Run", facts.items())
    page.facts("Configuration", _settings(config))
    page.section("Training data", text_block(data.lines()))
    details = _details_of(rows)
    if details:
        page.errors("Errors by element and config_type", details)
    page.write(files.html)


def _of_what(validated: bool) -> tuple[str, str]:
    kept = "averaged weights with the lowest validation loss"
    if not validated:
        kept = "last averaged weights (nothing was validated)"
    return (
        f"Of the {kept}, as saved in `model.safetensors`.",
        "Errors of forces, stress, dipole and other tensors are over components.",
    )


def _errors(rows: Sequence[ErrorRow], validated: bool) -> list[str]:
    return [
        "## Errors",
        "",
        *_of_what(validated),
        "",
        *render(summary(rows)),
        "",
        "All rows, in eV and Å: [errors.csv](errors.csv).",
        "",
    ]


def _plots(files: ReportFiles, data: DataSets) -> list[str]:
    drawn = [name for name in data.all() if files.parity(name).exists()]
    return [
        "## Learning curves",
        "",
        "![Loss, validation errors and learning rate by epoch](learning_curves.png)",
        "",
        "## Parity",
        "",
        *(
            f"![{name}: prediction against reference]({quote(files.parity(name).name)})\n"
            for name in drawn
        ),
    ]


def _reliability(files: ReportFiles, data: DataSets) -> list[str]:
    """Return a section on standard deviations, of a model that knows any."""
    drawn = [name for name in data.all() if files.reliability_of(name).exists()]
    if not drawn or not files.reliability.exists():
        return []
    return [
        "## How sure it is",
        "",
        f"{ABOUT_DEVIATIONS} All numbers: [reliability.csv](reliability.csv).",
        "",
        *(
            f"![{name}: errors and deviations]({quote(files.reliability_of(name).name)})\n"
            for name in drawn
        ),
    ]


def _details_of(rows: Sequence[ErrorRow]) -> list[ErrorRow]:
    short = summary(rows)
    return [row for row in rows if row not in short]


def _details(rows: Sequence[ErrorRow]) -> list[str]:
    details = _details_of(rows)
    if not details:
        return []
    return ["## Errors by element and config_type", "", *render(details), ""]


def _compared(before: Sequence[ErrorRow], after: Sequence[ErrorRow]) -> list[tuple[str, ...]]:
    """Return header and rows with the errors of the starting model beside those after training."""
    now = {(row.data_set, row.property): row for row in summary(after)}
    errors = ("MAE before", "MAE now", "RMSE before", "RMSE now")
    lines: list[tuple[str, ...]] = [("data set", "property", *errors, "unit")]
    for row in summary(before):
        _, unit, factor = shown_unit(row.property, row.unit)
        found = now[row.data_set, row.property]
        values = (row.mae, found.mae, row.rmse, found.rmse)
        cells = (f"{value * factor:.4g}" for value in values)
        lines.append((row.data_set, row.property.replace("_", " "), *cells, unit))
    return lines


def _comparison(before: Sequence[ErrorRow], after: Sequence[ErrorRow]) -> list[str]:
    if not before:
        return []
    header, *lines = _compared(before, after)
    return [
        "## Against the starting model",
        "",
        "Before the first step, with the reference energies of this run, and now. What rises on "
        "`replay` was forgotten.",
        "",
        *markdown_table(header, lines, numbers=range(2, 6)),
        "",
        "All rows: [errors_before.csv](errors_before.csv).",
        "",
    ]


def _settings(config: ResolvedRun) -> dict[str, object]:
    schedule = config.optimizer.schedule
    terms = active_terms(config.loss)
    loss = ", ".join(f"{name} {term.weight:g} × {term.kind}" for name, term in terms.items())
    model = config.model
    named = [head.name for head in model.tensors]
    hyperparameters = ", ".join(
        f"{key} {' + '.join(map(str, value)) if isinstance(value, tuple) else value}"
        for key, value in (model.model_dump() | {"tensors": tuple(named)}).items()
        if key != "name"
    )
    finetuned = {} if config.start is None else {"starts from": config.start.model}
    return {
        "model": f"{model.name}: {hyperparameters}",
        **finetuned,
        "loss": loss,
        "optimizer": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, "
        f"{schedule.name}, averaging {config.optimizer.ema_decay}",
        "batch size": config.training.batch_size,
        "precision": config.dtype,
        "seed": config.seed,
        "training data": ", ".join(files_of(config.data.train)),
    }
