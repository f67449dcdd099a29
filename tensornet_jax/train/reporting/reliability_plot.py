"""Reliability diagrams as PNG: errors against the standard deviations predicted for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tensornet_jax.potential.uncertainty.residuals import Residuals
from tensornet_jax.properties import PROPERTIES
from tensornet_jax.train.evaluation.reliability import SHARES, binned, observed_shares
from tensornet_jax.train.reporting.plots import COLORS, GRAY, INK, tidy

# Points of a scatter plot; more would only blacken it.
MOST_POINTS = 3000


def plot_reliability(path: Path | BinaryIO, title: str, found: Mapping[str, Residuals]) -> None:
    """Write two panels a property: errors over deviations, and shares of errors over expected ones.

    Args:
        path: PNG to write, or a file that is open for it.
        title: of the figure, e.g. the name of the data set.
        found: errors and deviations of at least one property, some deviations above zero.
    """
    figure = Figure(figsize=(4.3 * len(found), 8.2), layout="constrained")
    for k, (name, each) in enumerate(found.items()):
        _sizes_panel(figure.add_subplot(2, len(found), k + 1), name, each)
        _shares_panel(figure.add_subplot(2, len(found), len(found) + k + 1), each)
    # A dollar sign would begin a formula.
    figure.suptitle(title.replace("$", r"\$"), color=INK, fontsize=12)
    figure.savefig(path, dpi=160, format="png")


def _sizes_panel(axes: Axes, name: str, residuals: Residuals) -> None:
    row = PROPERTIES[name].compared
    unit, factor = row.shown
    errors, deviations = np.abs(residuals.errors) * factor, residuals.deviations * factor
    shown = (errors > 0) & (deviations > 0)
    every = max(1, int(shown.sum()) // MOST_POINTS)
    axes.scatter(
        deviations[shown][::every],
        errors[shown][::every],
        s=6,
        color=GRAY,
        alpha=0.4,
        linewidths=0,
        label="|error|",
    )
    expected, found = binned(Residuals(errors, deviations))
    axes.plot(expected, found, "o-", color=COLORS[0], markersize=4, label="RMSE of groups")
    ends = np.array([expected.min(), expected.max()])
    axes.plot(ends, ends, "--", color=COLORS[1], linewidth=1, label="as predicted")
    axes.set(xscale="log", yscale="log")
    axes.set_title(row.title, fontsize=10, color=INK)
    axes.set_xlabel(f"predicted σ ({unit})", fontsize=9)
    axes.set_ylabel(f"error ({unit})", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)


def _shares_panel(axes: Axes, residuals: Residuals) -> None:
    axes.plot([0, 1], [0, 1], "--", color=COLORS[1], linewidth=1)
    axes.plot(SHARES, observed_shares(residuals), color=COLORS[0])
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("expected share of errors within", fontsize=9)
    axes.set_ylabel("observed share", fontsize=9)
    tidy(axes)
