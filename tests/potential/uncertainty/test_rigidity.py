"""The covariance of features, its regularizer, and directions drawn from its inverse."""

import numpy as np
import pytest

from tensornet_jax.potential.uncertainty.rigidity import (
    REGULARIZERS,
    Covariance,
    best_regularizer,
    random_directions,
)


def rows(count: int = 30, size: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)) * 10.0 ** -np.arange(size)


def covariance(features: np.ndarray) -> Covariance:
    found = Covariance(features.shape[1])
    for part in np.array_split(features, 4):
        found.add(part)
    return found


def test_the_factor_is_a_root_of_the_regularized_inverse():
    features = rows()
    found = covariance(features)
    whole = features.T @ features
    ridge = 1e-4 * np.linalg.eigvalsh(whole)[-1]
    factor = found.factor(1e-4)
    expected = np.linalg.inv(whole + ridge * np.eye(len(whole)))
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-8)
    assert found.num_structures == len(features)


def test_what_the_sample_has_not_shown_is_the_least_sure():
    features = rows()
    features[:, -1] = 0
    factor = covariance(features).factor(1e-8)
    seen, unseen = np.eye(5)[0], np.eye(5)[-1]
    assert np.linalg.norm(unseen @ factor) > 100 * np.linalg.norm(seen @ factor)


def test_the_regularizer_is_the_one_of_the_most_likely_errors():
    features, found = rows(200, seed=1), covariance(rows())
    rng = np.random.default_rng(2)
    for true in (1e-6, 1e-3):
        deviations = np.linalg.norm(features @ found.factor(true), axis=1)
        chosen = best_regularizer(found, features, deviations * rng.normal(size=200))
        assert abs(np.log10(chosen / true)) <= 1
    assert min(REGULARIZERS) < 1e-9


def test_random_directions_are_right_on_average_and_all_of_them_exact():
    factor = covariance(rows()).factor(1e-3)
    whole = factor @ factor.T
    drawn = [random_directions(factor, 2, seed) for seed in range(4000)]
    mean = np.mean([each @ each.T for each in drawn], axis=0)
    np.testing.assert_allclose(mean, whole, rtol=0, atol=0.05 * np.abs(whole).max())
    exact = random_directions(factor, 5, 0)
    np.testing.assert_allclose(exact @ exact.T, whole, rtol=1e-10)
    np.testing.assert_array_equal(random_directions(factor, 3, 7), random_directions(factor, 3, 7))


def test_features_of_zero_or_not_finite_are_refused():
    with pytest.raises(ValueError, match="sees nothing of these structures"):
        covariance(np.zeros((8, 2))).factor(1e-3)
    with pytest.raises(ValueError, match="not finite"):
        covariance(np.full((8, 2), np.nan)).factor(1e-3)
