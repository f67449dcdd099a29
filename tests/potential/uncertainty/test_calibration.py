"""Standard deviations are as large as the errors that were found."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import erf

from tensornet_jax.potential.uncertainty.calibration import (
    best_scale,
    calibrate,
    corrected,
    negative_log_likelihood,
)


def drawn(count: int = 4000, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Errors whose deviation is 3 sᵖ, and s."""
    rng = np.random.default_rng(0)
    deviations = rng.lognormal(size=count)
    return 3 * deviations**power * rng.normal(size=count), deviations


def test_the_scale_is_the_most_likely_one():
    errors, deviations = drawn(200)
    found: Any = minimize_scalar(
        lambda alpha: negative_log_likelihood(errors, alpha * deviations),
        bounds=(0.1, 20),
        options={"xatol": 1e-10},
    )
    assert abs(best_scale(errors, deviations) - found.x) < 1e-6


def test_what_vanishes_by_symmetry_does_not_decide_about_the_scale():
    rng = np.random.default_rng(3)
    deviations = rng.uniform(0.02, 0.2, 4000)
    errors = 3 * deviations * rng.normal(size=4000)
    expected = best_scale(errors, deviations)
    # As of crystals under strain: rounding beside what is left of the labels' convergence.
    tiny = 1e-9 * rng.random(2000)
    both = np.append(errors, 1e-4 * rng.normal(size=2000)), np.append(deviations, tiny)
    assert best_scale(*both) == pytest.approx(expected, rel=1e-12)
    found = calibrate(*both, isotonic=True)
    assert found.scale == pytest.approx(expected, rel=1e-12)
    assert negative_log_likelihood(both[0], expected * both[1]) == pytest.approx(
        negative_log_likelihood(errors, expected * deviations), rel=1e-12
    )


def test_scaled_deviations_cover_what_they_should():
    errors, deviations = drawn()
    calibration = calibrate(errors[:2000], deviations[:2000])
    assert calibration.knots is None
    ratios = np.abs(errors[2000:]) / (calibration.scale * deviations[2000:])
    for width in (1.0, 2.0):
        assert abs(np.mean(ratios < width) - erf(width / 2**0.5)) < 0.03


def test_a_curve_mends_what_a_scale_cannot_and_never_falls():
    errors, deviations = drawn(power=0.4)
    calibration = calibrate(errors[:2000], deviations[:2000], isotonic=True)
    assert calibration.knots is not None
    scaled = calibration.scale * deviations[2000:]
    better = corrected(scaled, calibration.knots)
    rest = errors[2000:]
    assert negative_log_likelihood(rest, better) < negative_log_likelihood(rest, scaled) - 0.05
    places = np.geomspace(1e-4, 1e4, 500)
    assert (np.diff(corrected(places, calibration.knots)) >= 0).all()
    # Against the deviation that the errors were drawn with.
    middle = (deviations[2000:] > 0.5) & (deviations[2000:] < 2)
    true = 3 * deviations[2000:][middle] ** 0.4
    np.testing.assert_allclose(better[middle], true, rtol=0.25)


def test_no_curve_is_made_of_few_errors_or_where_a_scale_is_enough():
    assert calibrate(*drawn(60, 0.4), isotonic=True).knots is None
    errors = np.random.default_rng(1).normal(size=400)
    assert calibrate(errors, np.ones(400), isotonic=True).knots is None


def test_errors_or_deviations_of_zero_cannot_be_calibrated_on():
    with pytest.raises(ValueError, match="the model makes no error"):
        best_scale(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="every standard deviation is zero"):
        best_scale(np.ones(3), np.zeros(3))
