"""Reliability diagrams: errors against the standard deviations predicted for them."""

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.potential.uncertainty.residuals import Residuals, residuals_of
from tensornet_jax.properties import PROPERTIES
from tensornet_jax.train.evaluation.kinds import Kind, kinds_of
from tensornet_jax.train.evaluation.reliability import (
    SHARES,
    Curves,
    ReliabilityRow,
    curves_of,
    known,
    reliability_rows,
)
from tensornet_jax.train.reporting.plots import COLORS, GRAY, INK, plain_numbers, tidy

# Points of a scatter plot; more would only blacken it.
MOST_POINTS = 3000
# Numbers between powers of ten stand side by side at the abscissa only over a short range.
FEW_POWERS = 30
STYLES = ("-", ":", "-.")
SERIES, EXACT = (COLORS[0], *COLORS[2:]), COLORS[1]


class Reliability:
    """How right the deviations of one data set are: rows of a table, and a diagram.

    Reports show both in several forms; the diagram is drawn once, when it is first asked for.

    Args:
        name: of the data set.
        residuals: errors and deviations by property.
        kinds: of its structures.

    Attributes:
        name: of the data set.
        found: of the properties whose deviations are not all zero; rows and diagram are of these.
        kinds: of its structures.
    """

    def __init__(self, name: str, residuals: Mapping[str, Residuals], kinds: Sequence[Kind] = ()):
        self.name = name
        self.found = known(residuals)
        self.kinds = kinds

    @classmethod
    def of(
        cls,
        name: str,
        structures: Sequence[LabelledStructure],
        predictions: Sequence[Mapping[str, ArrayLike]],
    ) -> "Reliability":
        """Return that of the predictions of a data set's structures."""
        residuals = residuals_of(predictions, (each.labels for each in structures))
        return cls(name, residuals, kinds_of(name, structures, predictions))

    @cached_property
    def rows(self) -> list[ReliabilityRow]:
        """Return one row for each property."""
        return reliability_rows(self.name, self.found)

    @cached_property
    def picture(self) -> bytes:
        """Return the diagram as PNG; there has to be a property."""
        return reliability_picture(f"{self.name}: reliability", self.found)

    @cached_property
    def kinds_picture(self) -> bytes:
        """Return how well deviations tell each kind of structures from the others, as PNG."""
        return kinds_picture(f"{self.name}: certainty by config_type", self.kinds)


def reliability_picture(title: str, found: Mapping[str, Residuals]) -> bytes:
    """Draw two panels a property: errors over deviations, and shares of errors over expected ones.

    Returns a PNG.

    Args:
        title: of the figure, e.g. the name of the data set.
        found: errors and deviations of at least one property, some deviations above zero.
    """
    figure = Figure(figsize=(4.3 * len(found), 8.2), layout="constrained")
    for k, (name, each) in enumerate(found.items()):
        curves = curves_of(each)
        above = figure.add_subplot(2, len(found), k + 1)
        _draw_errors(above, name, each)
        draw_sizes(above, name, {"RMSE of groups": curves})
        above.set_title(PROPERTIES[name].compared.title, fontsize=10, color=INK)
        draw_shares(figure.add_subplot(2, len(found), len(found) + k + 1), [curves])
    # A dollar sign would begin a formula.
    figure.suptitle(title.replace("$", r"\$"), color=INK, fontsize=12)
    return _png(figure)


def kinds_picture(title: str, kinds: Sequence[Kind]) -> bytes:
    """Draw the receiver operating characteristics of each kind, a panel a property.

    Returns a PNG.
    """
    names = list(dict.fromkeys(each.property for each in kinds))
    order = sorted({each.config_type for each in kinds})
    figure = Figure(figsize=(4.8 * len(names), 4.8), layout="constrained")
    for number, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), number + 1)
        axes.plot([0, 1], [0, 1], "--", color=EXACT, linewidth=1)
        for each in (kind for kind in kinds if kind.property == name):
            again, place = divmod(order.index(each.config_type), len(SERIES))
            label = f"{each.config_type}: {each.area:.2f}".replace("$", r"\$")
            style = STYLES[again % len(STYLES)]
            axes.plot(*each.curve, style, color=SERIES[place], label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
        which = "σ of" if name == "energy" else "largest σ of"
        own = PROPERTIES[name].compared.title.lower()
        axes.set_title(f"{which} {own}", fontsize=10, color=INK)
        axes.set_xlabel("share of the others above a limit", fontsize=9)
        axes.set_ylabel("share of the kind above it", fontsize=9)
        axes.legend(fontsize=8, frameon=False, title="area", title_fontsize=8)
        tidy(axes)
    figure.suptitle(title.replace("$", r"\$"), color=INK, fontsize=12)
    return _png(figure)


def draw_sizes(axes: Axes, name: str, drawn: Mapping[str, Curves]) -> None:
    """Draw errors over deviations on logarithmic axes, in the units that a reader wants.

    Args:
        axes: to draw on.
        name: of the property.
        drawn: what to draw of it, by what the legend calls it.
    """
    row = PROPERTIES[name].compared
    unit, factor = row.shown
    for color, (label, each) in zip(cycle(SERIES), drawn.items(), strict=False):
        expected, found = factor * each.expected, factor * each.found
        axes.plot(expected, found, "o-", color=color, markersize=4, label=label)
    values = factor * np.concatenate([each.expected for each in drawn.values()])
    ends = np.array([values.min(), values.max()])
    if np.allclose(*ends, rtol=1e-6, atol=0):
        # One deviation, up to rounding, spans no axis.
        ends *= (0.8, 1.25)
    axes.plot(ends, ends, "--", color=EXACT, linewidth=1, label="as predicted")
    axes.set(xscale="log", yscale="log")
    plain_numbers(axes.xaxis, many=FEW_POWERS)
    plain_numbers(axes.yaxis)
    axes.set_xlabel(f"predicted σ ({unit})", fontsize=9)
    axes.set_ylabel(f"error ({unit})", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)


def draw_shares(axes: Axes, drawn: Iterable[Curves]) -> None:
    """Draw shares of errors within intervals over the shares expected there."""
    axes.plot([0, 1], [0, 1], "--", color=EXACT, linewidth=1)
    for color, each in zip(cycle(SERIES), drawn, strict=False):
        axes.plot(SHARES, each.shares, color=color)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("expected share of errors within", fontsize=9)
    axes.set_ylabel("observed share", fontsize=9)
    tidy(axes)


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, dpi=160, format="png")
    return picture.getvalue()


def _draw_errors(axes: Axes, name: str, residuals: Residuals) -> None:
    """Draw single errors over their deviations."""
    _, factor = PROPERTIES[name].compared.shown
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
