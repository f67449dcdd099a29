"""What `uncertainty.py` measured, as Markdown and as figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, TypeAlias
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure

from tensornet_jax.properties import PROPERTIES
from tensornet_jax.runtime.markdown import markdown_table
from tensornet_jax.train.evaluation.reliability import (
    Curves,
    ReliabilityRow,
    render_reliability,
)
from tensornet_jax.train.reporting.plots import INK
from tensornet_jax.train.reporting.reliability_plot import draw_shares, draw_sizes

Record: TypeAlias = dict[str, Any]
"""What was measured of one estimator on one set, as JSON has it."""

PLAIN, ENERGY_STD, FORCES_STD = "energy and forces", "and energy_std", "and forces_std"
"""What is timed, as records call it."""
DRAWN = ("energy", "forces")


def write_report(folder: Path, records: Sequence[Record], machine: str) -> None:
    """Write README.md and one figure for each set and property.

    Args:
        folder: of the results.
        records: of all sets and estimators.
        machine: processor, threads and versions.
    """
    figures = {}
    for name in _sets(records):
        own = _of_set(records, name)
        figures[name] = []
        for prop in DRAWN:
            if any(prop in found for each in own for found in each["curves"].values()):
                figures[name].append(f"{name}_{prop}.png")
                plot_set(folder / figures[name][-1], f"{name}: {prop}", prop, own)
    page = "\n".join(report(records, machine, figures))
    (folder / "README.md").write_text(page + "\n", encoding="utf-8")


def report(records: Sequence[Record], machine: str, figures: dict[str, list[str]]) -> list[str]:
    """Return everything that was measured as the lines of a page, the summary first.

    Args:
        records: of all sets and estimators.
        machine: processor, threads and versions.
        figures: names of PNG files, by set.
    """
    lines = [
        "# Uncertainty",
        "",
        "How right standard deviations σ are, trained at 300 K, tested at 300 K and 600 K, on "
        f"{machine}. *Area*: miscalibration area, between the shares of errors within intervals "
        "and those expected there; 0 is best, 0.5 worst. *Rank*: Spearman's correlation of the "
        "sizes of errors with σ. *1 σ* and *1.96 σ*: shares of errors within; 68.3 % and 95 % of "
        "right deviations. Energies are per atom. *Time*: energy, forces and σ over energy and "
        "forces of one model that knows no σ, one structure.",
        "",
        *_summary(records),
    ]
    for name in _sets(records):
        own = _of_set(records, name)
        lines += ["", f"## {name}", "", *_setting(own), ""]
        lines += [f"![{figure.removesuffix('.png')}]({quote(figure)})" for figure in figures[name]]
        for record in own:
            lines += ["", f"### {name}, {record['estimator']}", ""]
            lines += [*render_reliability(ReliabilityRow(**row) for row in record["rows"]), ""]
            lines += _times(record)
    return lines


def plot_set(path: Path, title: str, prop: str, records: Sequence[Record]) -> None:
    """Write two panels for each estimator, with a line for each temperature.

    Args:
        path: PNG to write.
        title: of the figure.
        prop: the property.
        records: of one set.
    """
    shown = [(each["estimator"], _curves(each, prop)) for each in records]
    shown = [(estimator, curves) for estimator, curves in shown if curves]
    figure = Figure(figsize=(2.7 * len(shown), 5.4), layout="constrained")
    for k, (estimator, curves) in enumerate(shown):
        above = figure.add_subplot(2, len(shown), k + 1)
        draw_sizes(above, prop, curves)
        above.set_title(fill(estimator, 26), fontsize=9, color=INK)
        draw_shares(figure.add_subplot(2, len(shown), len(shown) + k + 1), curves.values())
    figure.suptitle(title, color=INK, fontsize=11)
    figure.savefig(path, dpi=110)


def _curves(record: Record, prop: str) -> dict[str, Curves]:
    """Return what is drawn of a property, by temperature."""
    return {
        temperature: Curves(**{key: np.array(values) for key, values in found[prop].items()})
        for temperature, found in record["curves"].items()
        if prop in found
    }


def _summary(records: Sequence[Record]) -> list[str]:
    header = ["set", "estimator", "tested at"]
    for prop in DRAWN:
        header += [f"{prop}: area", "rank", "1 σ", "1.96 σ"]
    header += ["time, energy σ", "time, forces σ"]
    return markdown_table(header, [*_summary_rows(records)], numbers=range(3, len(header)))


def _summary_rows(records: Sequence[Record]) -> Iterator[list[str]]:
    """Yield the cells of each set, estimator and temperature; a dash where there is no σ."""
    for name in _sets(records):
        for record in _of_set(records, name):
            rows = {(row["data_set"], row["property"]): row for row in record["rows"]}
            times = [
                f"{record['seconds'][each] / record['plain_seconds']:.2f}"
                for each in (ENERGY_STD, FORCES_STD)
            ]
            for temperature in record["curves"]:
                cells = [name, record["estimator"], temperature]
                for prop in DRAWN:
                    row = rows.get((temperature, PROPERTIES[prop].compared.name))
                    cells += ["–"] * 4 if row is None else _cells(row)
                yield cells + times


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['miscalibration_area']:.3f}",
        f"{row['rank_correlation']:.3f}",
        f"{row['coverage_68']:.1%}",
        f"{row['coverage_95']:.1%}",
    ]


def _setting(records: Sequence[Record]) -> list[str]:
    """Return how the models of a set were trained, once for all that were trained alike."""
    lines = []
    for each in records:
        counts = each["structures"]
        tested = ", ".join(f"{counts[key]} at {key}" for key in each["curves"])
        lines.append(
            f"TensorNet of {each['channels']} channels, {each['epochs']} epochs on "
            f"{counts['train']} structures, {counts['validation']} for validation and calibration; "
            f"tested on {tested}."
        )
    return [*dict.fromkeys(lines)]


def _times(record: Record) -> list[str]:
    return [
        f"- {name}: {seconds * 1e3:.3g} ms, {seconds / record['plain_seconds']:.2f} × one model's "
        "energy and forces"
        for name, seconds in record["seconds"].items()
    ]


def _sets(records: Sequence[Record]) -> list[str]:
    return [*dict.fromkeys(each["set"] for each in records)]


def _of_set(records: Sequence[Record], name: str) -> list[Record]:
    return [each for each in records if each["set"] == name]
