"""The report of a run: error table, parity plots, learning curves and one page that shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references_by_head import References
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.runtime.processes import is_first
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.sources import files_of
from tensornet_jax.train.data.datasets import DataSets
from tensornet_jax.train.evaluation.errors import error_table, evaluate_structures
from tensornet_jax.train.evaluation.metrics import ErrorRow, render, shown_unit, summary, write_rows
from tensornet_jax.train.optimization.losses import active_terms
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.reporting.plots import parities, plot_learning_curves, plot_parity
from tensornet_jax.train.reporting.result import RunFacts
from tensornet_jax.train.run_directory import ReportFiles, RunDirectory


def evaluate_sets(
    files: ReportFiles,
    potential: Potential,
    sets: Mapping[str, Sequence[LabelledStructure]],
    references: References,
    batch_size: int,
    devices: Devices = ONE_DEVICE,
) -> list[ErrorRow]:
    """Evaluate a potential on several sets, draw a parity plot of each, and return the errors.

    Args:
        files: where plots and errors go; the folder is created when missing.
        potential: the potential.
        sets: structures with labels, by name.
        references: isolated-atom energies, to plot energies relative to.
        batch_size: structures evaluated at a time, on each device.
        devices: that share the structures; of several processes the first one draws.
    """
    files.path.mkdir(parents=True, exist_ok=True)
    rows: list[ErrorRow] = []
    for name, structures in sets.items():
        predictions = evaluate_structures(potential, structures, batch_size, devices)
        rows += error_table(name, structures, predictions, potential.tensor_heads).rows()
        if not is_first():
            continue
        found = parities(structures, predictions, references, potential.tensor_heads)
        if found:
            count = f"{len(structures):,} structures"
            plot_parity(files.parity(name), f"{name}: {count}", found)
    write_rows(files.errors, rows)
    return rows


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
) -> None:
    """Write the learning curves and the page that shows everything.

    Args:
        directory: the run directory, with the logs and what `evaluate_sets` wrote.
        config: the resolved configuration.
        data: the data sets.
        rows: the errors.
        facts: what else is to be said.
        before: the errors of the model that the run started from.
    """
    plot_learning_curves(
        directory.report.learning_curves,
        read_rows(directory.train_log),
        read_rows(directory.validation_log) if facts.validated else [],
        facts.best_epoch if facts.validated else None,
        {head.name: head.unit for head in config.model.tensors},
    )
    page = [
        f"# {Path(config.directory).name}",
        "",
        *_errors(rows, facts.validated),
        *_comparison(before, rows),
        *_plots(directory.report, data),
        "## Run",
        "",
        *facts.lines(),
        "",
        "## Configuration",
        "",
        *_config_lines(config),
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


def _errors(rows: Sequence[ErrorRow], validated: bool) -> list[str]:
    kept = "averaged weights with the lowest validation loss"
    if not validated:
        kept = "last averaged weights (nothing was validated)"
    return [
        "## Errors",
        "",
        f"Of the {kept}, as saved in `model.safetensors`.",
        "Errors of forces, stress, dipole and other tensors are over components.",
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


def _details(rows: Sequence[ErrorRow]) -> list[str]:
    short = summary(rows)
    details = [row for row in rows if row not in short]
    if not details:
        return []
    return ["## Errors by element and config_type", "", *render(details), ""]


def _comparison(before: Sequence[ErrorRow], after: Sequence[ErrorRow]) -> list[str]:
    """Return a section with the errors of the starting model beside those after training."""
    if not before:
        return []
    now = {(row.data_set, row.property): row for row in summary(after)}
    lines = [
        "## Against the starting model",
        "",
        "Before the first step, with the reference energies of this run, and now. What rises on "
        "`replay` was forgotten.",
        "",
        "| data set | property | MAE before | MAE now | RMSE before | RMSE now | unit |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in summary(before):
        _, unit, factor = shown_unit(row.property, row.unit)
        found = now[row.data_set, row.property]
        errors = (row.mae, found.mae, row.rmse, found.rmse)
        cells = " | ".join(f"{error * factor:.4g}" for error in errors)
        name = row.property.replace("_", " ")
        lines.append(f"| {row.data_set} | {name} | {cells} | {unit} |")
    return [*lines, "", "All rows: [errors_before.csv](errors_before.csv).", ""]


def _config_lines(config: ResolvedRun) -> list[str]:
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
    settings = {
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
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in settings.items())]
