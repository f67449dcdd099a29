"""Where the bands of a spectrum are, and how strong."""

from typing import NamedTuple

import numpy as np
from scipy.signal import find_peaks

from tensornet_jax.spectra.correlation import Spectrum


class Band(NamedTuple):
    """A maximum of a spectrum: its wavenumber in cm⁻¹ and its height."""

    wavenumber: float
    height: float


def bands(spectrum: Spectrum, smallest: float = 0.02) -> list[Band]:
    """Return the maxima, from low to high wavenumbers, each at the vertex of a parabola.

    Args:
        spectrum: of any kind.
        smallest: share of the highest intensity by which a maximum has to stand out.
    """
    intensity = spectrum.intensity
    if not len(intensity) or intensity.max() <= 0:
        return []
    peaks, _ = find_peaks(intensity, prominence=smallest * intensity.max())
    spacing = spectrum.wavenumbers[1] - spectrum.wavenumbers[0]
    found = []
    for peak in peaks:
        left, top, right = intensity[peak - 1 : peak + 2]
        curvature = left - 2 * top + right
        shift = 0.5 * (left - right) / curvature if curvature else 0.0
        found.append(
            Band(
                float(spectrum.wavenumbers[peak] + shift * spacing),
                float(top - 0.25 * (left - right) * shift),
            )
        )
    return found


def area(spectrum: Spectrum, low: float, high: float) -> float:
    """Return the integral of the intensity between two wavenumbers, cm⁻¹."""
    kept = (spectrum.wavenumbers >= low) & (spectrum.wavenumbers <= high)
    return float(np.trapezoid(spectrum.intensity[kept], spectrum.wavenumbers[kept]))
