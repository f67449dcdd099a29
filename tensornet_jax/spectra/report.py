"""Spectra and averages on disk: CSV tables and PNG pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tensornet_jax.runtime.csv_files import write_csv
from tensornet_jax.spectra.average_table import AverageRow
from tensornet_jax.spectra.bands import bands
from tensornet_jax.spectra.correlation import Spectrum

# Bands that get their wavenumber written next to them.
MOST_LABELS = 12


def write_spectra(path: Path, spectra: Mapping[str, Spectrum]) -> None:
    """Write spectra over the same wavenumbers to a CSV file.

    Columns are wavenumber_cm-1, each spectrum under its name and, with replicas, NAME_error.
    """
    columns = {"wavenumber_cm-1": next(iter(spectra.values())).wavenumbers}
    for name, spectrum in spectra.items():
        columns[name] = spectrum.intensity
        if spectrum.error is not None:
            columns[f"{name}_error"] = spectrum.error
    rows = np.stack(list(columns.values()), axis=1)
    write_csv(path, list(columns), ([f"{value:.8g}" for value in row] for row in rows))


def write_averages(path: Path, rows: Sequence[AverageRow]) -> None:
    """Write averages to a CSV file, a row each."""
    texts = ([f"{v:.8g}" if isinstance(v, float) else v for v in row] for row in rows)
    write_csv(path, AverageRow._fields, texts)


def draw(axes: Axes, spectrum: Spectrum, label: str | None = None) -> None:
    """Draw a spectrum with a band of two standard errors."""
    (line,) = axes.plot(spectrum.wavenumbers, spectrum.intensity, lw=1.0, label=label)
    if spectrum.error is not None:
        low, high = (spectrum.intensity + k * spectrum.error for k in (-2, 2))
        axes.fill_between(spectrum.wavenumbers, low, high, color=line.get_color(), alpha=0.25, lw=0)


def plot_spectra(path: Path, panels: Sequence[tuple[str, Mapping[str, Spectrum]]]) -> None:
    """Draw spectra to a PNG file, in one panel below the other.

    Args:
        path: of the picture.
        panels: what the intensity is called, and spectra by name; the bands of the first of them
            are labelled.
    """
    figure = Figure(figsize=(8, 1 + 3 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, spectra) in zip(rows, panels, strict=True):
        for name, spectrum in spectra.items():
            draw(axes, spectrum, name if len(spectra) > 1 else None)
        if len(spectra) > 1:
            axes.legend()
        first = next(iter(spectra.values()))
        strongest = sorted(bands(first), key=lambda band: -band.height)[:MOST_LABELS]
        for band in strongest:
            axes.annotate(
                f"{band.wavenumber:.0f}",
                (band.wavenumber, band.height),
                (0, 4),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="bottom",
                fontsize=7,
            )
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]), top=1.15 * axes.get_ylim()[1])
        axes.set_ylabel(title)
        axes.set_xlim(first.wavenumbers[0], first.wavenumbers[-1])
    rows[-1].set_xlabel("wavenumber (cm⁻¹)")
    figure.savefig(path, dpi=150)
