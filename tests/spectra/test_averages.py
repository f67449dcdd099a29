"""Errors of the mean of correlated series whose error is known."""

import numpy as np
import pytest

from tensornet_jax.spectra.averages import block_average, block_levels
from tests.spectra.signals import autoregression


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("shape", [(1, 65_536), (8, 8192)])
def test_error_of_autoregressive_noise_is_the_known_one(phi, shape):
    """Var(mean) = σ²/N · (1 + φ)/(1 − φ), σ² = 1/(1 − φ²)."""
    replicas, length = shape
    found = [
        block_average(autoregression([phi], length, replicas, seed)[..., None])
        for seed in range(12)
    ]
    deviation = 1 / np.sqrt(1 - phi**2)
    inefficiency = (1 + phi) / (1 - phi)
    expected = deviation * np.sqrt(inefficiency / (replicas * length))
    errors = np.array([each.error[0] for each in found])
    assert errors.mean() == pytest.approx(expected, rel=0.1)
    assert np.mean([each.deviation[0] for each in found]) == pytest.approx(deviation, rel=0.03)
    assert np.mean([each.inefficiency[0] for each in found]) == pytest.approx(inefficiency, rel=0.2)
    # The errors are those of the means: 12 normal deviates.
    away = np.array([each.mean[0] for each in found]) / errors
    assert 0.4 < np.sqrt(np.mean(away**2)) < 1.7


def test_first_levels_are_the_errors_of_independent_values_and_of_pairs():
    series = np.random.default_rng(0).standard_normal((1, 64))
    (one, first), (two, second), *_ = block_levels(series)
    assert (one, two) == (1, 2)
    assert first == pytest.approx(series[0].std(ddof=1) / 8)
    pairs = series.reshape(32, 2).mean(axis=1)
    assert second == pytest.approx(pairs.std(ddof=1) / np.sqrt(32))


def test_each_component_has_its_own_error():
    slow, fast = autoregression([0.95], 8192, 1), autoregression([0.0], 8192, 1, seed=1)
    both = block_average(np.stack([slow, fast], axis=-1))
    for index, series in enumerate((slow, fast)):
        alone = block_average(series)
        assert both.error[index] == pytest.approx(float(alone.error))
        assert both.mean[index] == pytest.approx(series.mean())


def test_a_series_shorter_than_its_correlations_has_no_error():
    assert np.isnan(block_average(np.linspace(0, 1, 256)[None]).error)


def test_replicas_that_disagree_have_a_large_error():
    """Each is constant but for small noise: their scatter is all there is to judge by."""
    series = np.arange(16.0)[:, None] + 1e-3 * autoregression([0.0], 64, 16)
    error = float(block_average(series).error)
    assert np.isnan(error) or error > 0.9 * np.arange(16.0).std(ddof=1) / 4


def test_a_constant_has_no_error():
    assert float(block_average(np.full((1, 100), 3.0)).error) == 0


def test_too_few_values_are_refused():
    with pytest.raises(ValueError, match="3 values of 2 replicas are too few"):
        block_average(np.zeros((2, 3)))
