"""Spectral densities of time series, by way of their correlation functions (Wiener–Khinchin)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.fft import dct, next_fast_len

from tensornet_jax.spectra.wavenumbers import SPEED_OF_LIGHT
from tensornet_jax.spectra.windows import lag_window

# Points of the spectrum for each width of a line.
POINTS_PER_WIDTH = 8


class Spectrum(NamedTuple):
    """A spectrum.

    wavenumbers: (K,) cm⁻¹, from 0 on and equally spaced.
    intensity: (K,).
    error: (K,) standard error of the intensity from the scatter among replicas; None of only one.
    """

    wavenumbers: Float[np.ndarray, " wavenumbers"]
    intensity: Float[np.ndarray, " wavenumbers"]
    error: Float[np.ndarray, " wavenumbers"] | None

    def times(self, factor: Float[np.ndarray, " wavenumbers"] | float) -> "Spectrum":
        """Return the spectrum with intensity and error multiplied by (K,) or one number."""
        error = None if self.error is None else self.error * np.abs(factor)
        return Spectrum(self.wavenumbers, self.intensity * factor, error)

    def upto(self, wavenumber: float) -> "Spectrum":
        """Return the part up to a wavenumber in cm⁻¹."""
        kept = self.wavenumbers <= wavenumber
        error = None if self.error is None else self.error[kept]
        return Spectrum(self.wavenumbers[kept], self.intensity[kept], error)


def autocorrelation(
    series: Float[np.ndarray, "replicas steps ..."], lags: int
) -> Float[np.ndarray, "replicas lags"]:
    """Return ⟨x(0) x(t)⟩, the sum over components, at the lags 0 … lags − 1, (R, lags).

    Every lag is the mean over all pairs of times that far apart.

    Args:
        series: (R, T, …) of R replicas.
        lags: fewer than T.
    """
    count, length = series.shape[:2]
    columns = series.reshape(count, length, -1)
    size = next_fast_len(length + lags, real=True)
    power = (np.abs(np.fft.rfft(columns, size, axis=1)) ** 2).sum(axis=2)
    return np.fft.irfft(power, size, axis=1)[:, :lags] / (length - np.arange(lags))


def spectral_density(
    series: Float[np.ndarray, "replicas steps ..."],
    interval: float,
    *,
    resolution: float = 10.0,
    window: str = "hann",
) -> Spectrum:
    """Return the spectral density of the time derivative of series, per replica and averaged.

    S(ν̃) = c ∫ w(t) ⟨ẋ(0)·ẋ(t)⟩ e^{−2πicν̃t} dt, so ∫ S dν̃ over both signs of ν̃ is ⟨ẋ²⟩; its
    unit is (unit of x / fs)² cm.

    Differences of successive values stand for the derivative: they leave no slow part whose side
    lobes would cover weak lines. What they take from fast motions, sin²(ωΔt/2) / (ωΔt/2)², is
    known and divided out.

    Args:
        series: (R, T, …) of R replicas, alike but for chance.
        interval: time between two values, fs.
        resolution: full width at half maximum of a sharp line, cm⁻¹.
        window: one of ``WINDOWS``.

    Raises:
        ValueError: the series is too short for the resolution.
    """
    series = np.asarray(series, np.float64)
    weights = lag_window(window, resolution, interval)
    length = series.shape[1] - 1
    if len(weights) > length // 2:
        needed = 2 * len(weights) * interval * 1e-3
        raise ValueError(
            f"{series.shape[1]} values every {interval:g} fs are too short for a resolution of "
            f"{resolution:g} cm⁻¹, which needs {needed:.3g} ps: give a coarser resolution"
        )
    rates = np.diff(series, axis=1) / interval
    correlation = autocorrelation(rates, len(weights)) * weights
    nyquist = 1 / (2 * SPEED_OF_LIGHT * interval)
    points = max(len(weights), int(POINTS_PER_WIDTH * nyquist / resolution)) + 1
    padded = np.zeros((len(series), points))
    padded[:, : len(weights)] = correlation
    # The cosine transform counts lag 0 once and all others twice, as the sum over both signs does.
    densities = SPEED_OF_LIGHT * interval * np.asarray(dct(padded, type=1, axis=1))
    wavenumbers = np.linspace(0, nyquist, points)
    densities /= np.sinc(0.5 * wavenumbers / nyquist) ** 2
    error = None
    if len(series) > 1:
        error = densities.std(axis=0, ddof=1) / np.sqrt(len(series))
    return Spectrum(wavenumbers, densities.mean(axis=0), error)
