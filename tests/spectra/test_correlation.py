"""Spectral densities of signals that are known on paper."""

import numpy as np
import pytest

from tensornet_jax.spectra.bands import area, bands
from tensornet_jax.spectra.correlation import autocorrelation, spectral_density
from tensornet_jax.spectra.windows import WINDOWS, lag_window
from tests.spectra.signals import LIGHT, autoregression, cosines


def test_autocorrelation_is_the_mean_over_all_pairs_of_times():
    series = np.random.default_rng(0).standard_normal((2, 30, 3))
    found = autocorrelation(series, 12)
    for lag in range(12):
        expected = (series[:, : 30 - lag] * series[:, lag:]).sum(axis=2).mean(axis=1)
        np.testing.assert_allclose(found[:, lag], expected, atol=1e-13)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_line_has_its_place_width_and_area(window):
    # Near the highest wavenumber a step of 2 fs can tell, 8339 cm⁻¹, differences take most away.
    for wavenumber in (400.0, 1700.0, 3567.7, 7200.0):
        series = cosines([(wavenumber, 0.3)], length=20_000)
        found = spectral_density(series, 2.0, resolution=20.0, window=window)
        near = (found.wavenumbers > wavenumber - 100) & (found.wavenumbers < wavenumber + 100)
        grid, line = found.wavenumbers[near], found.intensity[near]
        top = grid[line.argmax()]
        assert top == pytest.approx(wavenumber, abs=1.5)
        above = grid[line > line.max() / 2]
        assert above[-1] - above[0] == pytest.approx(20.0, abs=2 * (grid[1] - grid[0]))
        # ⟨ẋ²⟩ is half the amplitude's square times ω², and half of it at positive wavenumbers.
        omega = 2 * np.pi * LIGHT * wavenumber
        whole = area(found, wavenumber - 350, wavenumber + 350)
        assert whole == pytest.approx((0.3 * omega) ** 2 / 4, rel=0.02)


def test_lines_of_a_sum_of_cosines_are_found_and_nothing_else():
    lines = [(300.0, 1.0), (880.0, 0.5), (1050.0, 0.8), (2900.0, 0.1), (3650.0, 0.1)]
    found = spectral_density(cosines(lines, length=20_000), 2.0, resolution=10.0)
    places = [band.wavenumber for band in bands(found, smallest=0.03)]
    assert places == pytest.approx([place for place, _ in lines], abs=0.3)


def test_damped_oscillations_have_the_density_of_their_correlation_function():
    """Two thermal oscillators: autoregressive series, whose correlation functions are damped
    cosines."""
    interval, replicas, length = 2.0, 16, 20_000
    expected, series = 0.0, 0.0
    weights = lag_window("hann", 30.0, interval)
    lags = np.arange(len(weights) + 1)
    for seed, (wavenumber, lifetime) in enumerate([(500.0, 300.0), (1500.0, 500.0)]):
        radius = np.exp(-interval / lifetime)
        angle = 2 * np.pi * LIGHT * wavenumber * interval
        a = (2 * radius * np.cos(angle), -(radius**2))
        series = series + autoregression(a, length, replicas, seed)
        variance = (1 - a[1]) / ((1 + a[1]) * ((1 - a[1]) ** 2 - a[0] ** 2))
        slope = (1 - radius**2) / (1 + radius**2) / np.tan(angle)
        correlation = (
            variance * radius**lags * (np.cos(lags * angle) + slope * np.sin(lags * angle))
        )
        mirrored = np.abs(lags[:-1] - 1)
        rates = (2 * correlation[:-1] - correlation[1:] - correlation[mirrored]) / interval**2
        expected = expected + rates * weights
    found = spectral_density(np.asarray(series), interval, resolution=30.0).upto(2500)
    assert found.error is not None
    phases = 2 * np.pi * LIGHT * interval * np.outer(found.wavenumbers, lags[:-1])
    twice = np.where(lags[:-1] == 0, 1, 2)
    density = LIGHT * interval * np.cos(phases) @ (twice * expected)
    density /= np.sinc(LIGHT * interval * found.wavenumbers) ** 2
    places = [band.wavenumber for band in bands(found, smallest=0.1)]
    assert places == pytest.approx([500, 1500], abs=6)
    away = (found.intensity - density) / found.error
    assert np.abs(away).max() < 6
    assert np.sqrt(np.mean(away**2)) < 1.6


def test_a_series_too_short_for_the_resolution_is_refused_with_the_length_it_needs():
    series = cosines([(1000.0, 1.0)], length=1000)
    with pytest.raises(ValueError, match=r"1000 values every 2 fs .* 1 cm⁻¹, which needs 66.7 ps"):
        spectral_density(series, 2.0, resolution=1.0)


def test_unknown_windows_and_resolutions_are_refused():
    with pytest.raises(ValueError, match="'hamming' is not one of hann, blackman"):
        lag_window("hamming", 10.0, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        lag_window("hann", 0.0, 1.0)
