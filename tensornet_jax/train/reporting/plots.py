"""Parity plots and learning curves as PNG.

Figures are made without pyplot, whose global state a library must not touch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references_by_head import References
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.properties import LABELLED, title_of
from tensornet_jax.train.evaluation.metrics import COMPARED, SUMMARIZED, ErrorSum, shown_unit

INK = "#22272e"
GRAY = "#8b949e"
COLORS = ("#1f5fa8", "#d1681c", "#2b8a5b", "#8a4fae")
# More points than this are drawn as a density.
MANY = 2000
_PROPERTY_OF = {row.compared.name: row.name for row in LABELLED}


@dataclass(frozen=True)
class Parity:
    """Reference and predicted components of one property, without missing labels.

    Attributes:
        name: of what is compared: energy_per_atom, forces, …, or the name of a head.
        reference: labels.
        predicted: predictions.
        unit: of a head.
        numbers: of the atom that a component belongs to; 0 where it is of the whole structure.
        owners: which structure a component belongs to, from 0.
    """

    name: str
    reference: Float[np.ndarray, " labels"]
    predicted: Float[np.ndarray, " labels"]
    unit: str = ""
    numbers: Int[np.ndarray, " labels"] = field(default_factory=lambda: np.zeros(0, dtype=int))
    owners: Int[np.ndarray, " labels"] = field(default_factory=lambda: np.zeros(0, dtype=int))


def parities(
    structures: Sequence[LabelledStructure],
    predictions: Sequence[Mapping[str, ArrayLike]],
    references: References,
    heads: Sequence[TensorHead] = (),
) -> list[Parity]:
    """Collect what was predicted against the labels, property by property.

    Energies are per atom and without the reference energies E0, which alone would put every point
    on the diagonal.

    Args:
        structures: with labels.
        predictions: one dict of arrays for each, as `evaluate_structures` returns.
        references: isolated-atom energies.
        heads: of the tensors among the predictions.
    """
    units = {head.name: head.unit for head in heads}
    per_atom = {row.name for row in (*LABELLED, *heads) if row.per == "atom"}
    collected: dict[str, list[tuple[np.ndarray, ...]]]
    collected = {name: [] for name in (*SUMMARIZED, *units)}
    for owner, (structure, prediction) in enumerate(zip(structures, predictions, strict=True)):
        for name, parts in collected.items():
            key = _PROPERTY_OF.get(name, name)
            if key not in prediction:
                continue
            label, value = structure.labels.of(key), np.asarray(prediction[key])
            if key == "energy":
                base, size = references.of_structure(structure), len(structure)
                label, value = (label - base) / size, (value - base) / size
            label = np.broadcast_to(label, np.shape(value))
            known = ~np.isnan(label)
            numbers = np.zeros(np.shape(value), dtype=int)
            if key in per_atom:
                numbers += structure.numbers.reshape(-1, *(1,) * (np.ndim(value) - 1))
            owners = np.full(np.count_nonzero(known), owner)
            parts.append((label[known].ravel(), value[known].ravel(), numbers[known], owners))
    found = []
    for name, parts in collected.items():
        if parts:
            columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
            reference, predicted, numbers, owners = columns
            unit = units.get(name, "")
            found.append(Parity(name, reference, predicted, unit, numbers, owners))
    return [parity for parity in found if parity.reference.size]


def plot_parity(path: Path, title: str, found: Sequence[Parity]) -> None:
    """Write one panel a property: prediction against reference, with the errors written in.

    Args:
        path: PNG to write.
        title: of the figure, e.g. the name of the data set.
        found: at least one property.
    """
    figure = Figure(figsize=(4.3 * len(found), 4.3), layout="constrained")
    for k, parity in enumerate(found):
        axes = figure.add_subplot(1, len(found), k + 1)
        _parity_panel(figure, axes, parity)
    # A dollar sign would begin a formula.
    figure.suptitle(title.replace("$", r"\$"), color=INK, fontsize=12)
    figure.savefig(path, dpi=160)


def _parity_panel(figure: Figure, axes: Axes, parity: Parity) -> None:
    unit, shown, factor = shown_unit(parity.name, parity.unit)
    values = np.concatenate([parity.reference, parity.predicted])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=GRAY, linewidth=0.8, zorder=1)
    if parity.reference.size > MANY:
        image = axes.hexbin(
            parity.reference,
            parity.predicted,
            gridsize=90,
            extent=(*limits, *limits),
            norm=LogNorm(),
            mincnt=1,
            cmap="viridis",
            linewidths=0.1,
            zorder=2,
        )
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label("components per bin", fontsize=8, color=INK)
        bar.ax.tick_params(labelsize=8)
    else:
        alpha = float(np.clip(200 / parity.reference.size, 0.25, 0.9))
        axes.scatter(
            parity.reference,
            parity.predicted,
            s=14,
            color=COLORS[0],
            alpha=alpha,
            linewidths=0,
            zorder=2,
        )
    errors = ErrorSum()
    errors.add(parity.predicted - parity.reference)
    axes.text(
        0.04,
        0.96,
        f"MAE {errors.mae * factor:.3g} {shown}\nRMSE {errors.rmse * factor:.3g} {shown}",
        transform=axes.transAxes,
        va="top",
        fontsize=9,
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2},
    )
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    relative = ", E0 taken off" if parity.name == "energy_per_atom" else ""
    axes.set_title(parity_title(parity.name) + relative, fontsize=10, color=INK)
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"reference{suffix}", fontsize=9)
    axes.set_ylabel(f"predicted{suffix}", fontsize=9)
    tidy(axes)


def plot_learning_curves(
    path: Path,
    train: Sequence[Mapping[str, float]],
    validation: Sequence[Mapping[str, float]],
    best_epoch: float | None,
    units: Mapping[str, str] | None = None,
) -> None:
    """Write loss, validation errors and learning rate against epochs, the errors on log axes.

    Args:
        path: PNG to write.
        train: rows of log_train.csv.
        validation: rows of log_validation.csv, those of a replay set too.
        best_epoch: marked where it is known.
        units: of tensors, by name.
    """
    units = units or {}
    names = [
        n for n in (*SUMMARIZED, *units) if any(_finite(row.get(f"{n}_mae")) for row in validation)
    ]
    num_panels = len(names) + 2
    num_rows = -(-num_panels // 2)
    figure = Figure(figsize=(9.2, 3.4 * num_rows), layout="constrained")
    panels = [figure.add_subplot(num_rows, 2, k + 1) for k in range(num_panels)]
    loss, errors, rate = panels[0], panels[1:-1], panels[-1]

    _curve(loss, train, "loss", 1.0, "training", COLORS[0])
    _curve(loss, validation, "loss", 1.0, "validation", COLORS[1])
    loss.set_title("Loss", fontsize=10, color=INK)
    loss.set_ylabel("weighted sum of the terms", fontsize=9)
    for axes, name in zip(errors, names, strict=True):
        _, unit, factor = shown_unit(name, units.get(name, ""))
        _curve(axes, validation, f"{name}_mae", factor, "MAE", COLORS[2])
        _curve(axes, validation, f"{name}_rmse", factor, "RMSE", COLORS[3])
        _curve(axes, validation, f"replay_{name}_mae", factor, "MAE of replay", COLORS[0])
        axes.set_title(f"{parity_title(name)}, validation", fontsize=10, color=INK)
        axes.set_ylabel(f"error ({unit})" if unit else "error", fontsize=9)
    _curve(rate, train, "learning_rate", 1.0, "learning rate", COLORS[0])
    rate.set_title("Learning rate", fontsize=10, color=INK)
    rate.set_ylabel("learning rate", fontsize=9)
    for axes in panels:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_xlabel("epoch", fontsize=9)
        axes.set_xlim(left=0)
        if best_epoch is not None and axes is not rate:
            axes.axvline(best_epoch, color=GRAY, linewidth=0.8, linestyle="--", label="best")
        if axes is not rate:
            axes.legend(fontsize=8, frameon=False)
        axes.grid(True, which="major", color="#e5e8eb", linewidth=0.6)
        tidy(axes)
    figure.savefig(path, dpi=160)


def _curve(
    axes: Axes,
    rows: Sequence[Mapping[str, float]],
    name: str,
    factor: float,
    label: str,
    color: str,
) -> None:
    points = [(row["epoch"], row[name] * factor) for row in rows if _finite(row.get(name))]
    # A logarithmic axis has no place for zero, such as the learning rate before a warm-up.
    points = [(epoch, value) for epoch, value in points if value > 0]
    if points:
        epochs, values = zip(*points, strict=True)
        marker = "o" if len(points) < 25 else None
        axes.plot(
            epochs, values, color=color, linewidth=1.3, marker=marker, markersize=3, label=label
        )


def parity_title(name: str) -> str:
    """Return what stands over plots of a property."""
    return COMPARED[name].title if name in COMPARED else title_of(name)


def _finite(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def plain_numbers(axis: Axis, many: float = 1e3) -> None:
    """Write plain numbers at a logarithmic axis, between powers of ten too where those are few.

    Args:
        axis: whose limits are set.
        many: from which ratio of its ends on there are enough powers of ten.
    """
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < many else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def tidy(axes: Axes) -> None:
    """Give a panel the looks that all of them have."""
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=8, labelcolor=INK, color=GRAY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRAY)
