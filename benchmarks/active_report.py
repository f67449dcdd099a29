"""What `active.py` measured, as Markdown and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure
from results_file import machine_line

from tensornet_jax.runtime.markdown import markdown_table

Record: TypeAlias = dict[str, Any]
"""What was measured of one choice with so many labels, as JSON has it."""

COLORS = {"loop": "#1f5fa8", "random": "#d1681c"}
PICTURE = "active.png"
TEMPERATURE, TIMESTEP = 500.0, 0.5
"""Of the dynamics at the end, K and fs."""


def write_report(folder: Path, results: dict[str, Any]) -> str:
    """Write README.md and its picture, and return the page.

    Args:
        folder: of the results.
        results: machine, versions and records, as `results_file` has them.
    """
    records = results["records"]
    plot(folder / PICTURE, records)
    page = "\n".join(report(records, machine_line(results, "tblite"))) + "\n"
    (folder / "README.md").write_text(page, encoding="utf-8")
    return page


def report(records: Sequence[Record], machine: str) -> list[str]:
    """Return errors and dynamics as the lines of a page.

    Args:
        records: of all choices and numbers of labels.
        machine: processor, threads and versions.
    """
    rows = [
        (r["choice"], str(r["labels"]), f"{r['energy_per_atom']:.3g}", f"{r['forces']:.4g}")
        for r in records
    ]
    simulated = [
        (
            r["choice"],
            str(r["labels"]),
            f"{r['dynamics']['picoseconds']:.1f}",
            f"{r['dynamics']['temperature']:.0f}",
            f"{r['dynamics']['shortest_bond']:.2f} to {r['dynamics']['longest_bond']:.2f}",
        )
        for r in records
        if "dynamics" in r
    ]
    return [
        "# Active learning of ethanol",
        "",
        f"RMSE on an independent trajectory of GFN2-xTB at 500 K. {machine}.",
        "",
        f"![errors against labels, and bonds in dynamics]({PICTURE})",
        "",
        *markdown_table(
            ("choice", "labels", "energy, meV/atom", "forces, meV/Å"), rows, numbers=(1, 2, 3)
        ),
        "",
        f"Dynamics at {TEMPERATURE:.0f} K, Langevin, {TIMESTEP} fs, begun from a test structure:",
        "",
        *markdown_table(
            ("choice", "labels", "ps", "mean temperature, K", "bonds over their usual lengths"),
            simulated,
            numbers=(1, 2, 3),
        ),
    ]


def plot(path: Path, records: Sequence[Record]) -> None:
    """Draw forces' errors against labels, and in dynamics the longest bond over time.

    Args:
        path: PNG file.
        records: of all choices and numbers of labels.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    errors, bonds = figure.subplots(1, 2)
    for choice in dict.fromkeys(r["choice"] for r in records):
        own = sorted((r for r in records if r["choice"] == choice), key=lambda r: r["labels"])
        errors.plot(
            [r["labels"] for r in own],
            [r["forces"] for r in own],
            "o-",
            color=COLORS[choice],
            label=choice,
        )
        for r in own:
            if "dynamics" in r:
                bonds.plot(
                    r["dynamics"]["times_ps"],
                    r["dynamics"]["longest_bonds"],
                    color=COLORS[choice],
                    linewidth=0.8,
                    label=f"{choice}, {r['labels']} labels",
                )
    errors.set(xlabel="labels", ylabel="forces, RMSE (meV/Å)", ylim=(0, None))
    bonds.set(xlabel="time (ps)", ylabel="longest bond over its usual length")
    for axes in (errors, bonds):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
