"""Last layers are trained until errors are as likely as they can be."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tensornet_jax.potential.uncertainty.shallow import SCORES, Energies, trained_last_layers


def drawn(count: int, seed: int) -> Energies:
    """Errors whose deviation is twice the second of three features."""
    rng = np.random.default_rng(seed)
    features = rng.uniform(0.5, 2.0, size=(count, 3))
    return Energies(features, 2 * features[:, 1] * rng.normal(size=count))


@pytest.mark.parametrize("score", ["nll", "crps"])
def test_slopes_of_scores_are_those_of_finite_differences(score):
    errors, deviations = np.array([-0.3, 0.0, 2.0]), np.array([0.4, 1.0, 0.7])
    step = 1e-6
    ends = [SCORES[score](errors, deviations + sign * step)[0] for sign in (1, -1)]
    slopes = SCORES[score](errors, deviations)[1]
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slopes, atol=1e-8)


def test_the_probability_score_is_the_integral_of_its_definition():
    error, deviation = 0.6, 0.8
    left, _ = quad(lambda x: norm.cdf(x / deviation) ** 2, -12, error)
    right, _ = quad(lambda x: (norm.cdf(x / deviation) - 1) ** 2, error, 12)
    (value,), _ = SCORES["crps"](np.array([error]), np.array([deviation]))
    assert abs(value - left - right) < 1e-8


@pytest.mark.parametrize("score", ["nll", "crps"])
def test_training_finds_what_errors_depend_on(score):
    start = 0.5 * np.random.default_rng(3).normal(size=(3, 8))
    found = trained_last_layers(start, drawn(3000, 0), drawn(3000, 1), score)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-10)
    other = drawn(1000, 2).features
    deviations = np.linalg.norm(other @ found, axis=1)
    np.testing.assert_allclose(deviations, 2 * other[:, 1], rtol=0.25)
