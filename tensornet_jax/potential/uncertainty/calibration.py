"""Standard deviations made right by errors on structures that the model was not trained on.

Errors e of a calibrated model are as large as their standard deviations σ say: for normal errors of
deviation α s, with s from the model, the likelihood is greatest at α² = ⟨e²/s²⟩, whatever the
order of the s. Where small s are too small and large ones too large, a curve that only rises
corrects them: the isotonic regression of e² on (α s)².

Forces and stresses that vanish by symmetry have no deviation, but for rounding. One of 1e-9 beside
an error of 1e-6 would decide about α, so that such components are left out.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import isotonic_regression

# In units of the root mean square; what is below is zero by symmetry.
SMALLEST_DEVIATION = 1e-3
# Knots of a curve, each of so many errors at least.
MOST_KNOTS = 32
FEWEST_ERRORS = 20

Errors: TypeAlias = Float[np.ndarray, " errors"]


class Calibration(NamedTuple):
    """What makes standard deviations right.

    scale: α.
    knots: of a curve, deviations times α and what they should be; None for none.
    """

    scale: float
    knots: Float[np.ndarray, "2 knots"] | None = None


def are_known(deviations: Errors) -> Bool[np.ndarray, " errors"]:
    """Tell which deviations are not zero by symmetry, rounding aside."""
    size = np.sqrt(np.mean(deviations**2)) if len(deviations) else 0.0
    return deviations > SMALLEST_DEVIATION * size


def best_scale(errors: Errors, deviations: Errors) -> float:
    """Return α of the greatest likelihood.

    Args:
        errors: in any unit.
        deviations: s in the same unit; errors of zero deviation, rounded, say nothing.

    Raises:
        ValueError: no deviation, or no error, is above zero.
    """
    known = are_known(deviations)
    if not known.any():
        raise ValueError("every standard deviation is zero: give structures that have neighbors")
    if not errors[known].any():
        raise ValueError(
            "the model makes no error on the structures it is calibrated on: give labels that are "
            "not its own predictions"
        )
    return float(np.sqrt(np.mean((errors[known] / deviations[known]) ** 2)))


def negative_log_likelihood(errors: Errors, deviations: Errors) -> float:
    """Return the mean of ½ ln 2πσ² + ½ (e/σ)²; in eV or eV/Å it depends on the unit.

    Errors of zero deviation, rounded, are left out.
    """
    known = are_known(deviations)
    e, s = errors[known], deviations[known]
    return float(np.mean(0.5 * np.log(2 * np.pi * s**2) + 0.5 * (e / s) ** 2))


def calibrate(errors: Errors, deviations: Errors, *, isotonic: bool = False) -> Calibration:
    """Return scale and, if asked for and there are enough errors, a curve.

    Args:
        errors: predictions minus labels.
        deviations: s of the model.
        isotonic: whether a curve is wanted; it is taken if it raises the likelihood of half of the
            errors when the other half has made it.

    Raises:
        ValueError: as `best_scale`.
    """
    scale = best_scale(errors, deviations)
    known = are_known(deviations)
    e, s = errors[known], scale * deviations[known]
    if not isotonic or len(e) < 4 * FEWEST_ERRORS:
        return Calibration(scale)
    first, second = (np.arange(len(e)) % 2 == k for k in (0, 1))
    knots = _curve(e[first], s[first])
    before = negative_log_likelihood(e[second], s[second])
    if negative_log_likelihood(e[second], corrected(s[second], knots)) >= before:
        return Calibration(scale)
    return Calibration(scale, _curve(e, s))


def corrected(deviations: Errors, knots: Float[np.ndarray, "2 knots"]) -> Errors:
    """Return deviations by a curve, beyond whose ends it is a factor."""
    known, true = knots
    inside = np.interp(deviations, known, true)
    low, high = deviations < known[0], deviations > known[-1]
    inside = np.where(low, deviations * true[0] / known[0], inside)
    return np.where(high, deviations * true[-1] / known[-1], inside)


def _curve(errors: Errors, deviations: Errors) -> Float[np.ndarray, "2 knots"]:
    """Rising curve of root mean square errors over deviations, by groups of like deviation."""
    order = np.argsort(deviations, kind="stable")
    groups = np.array_split(order, min(MOST_KNOTS, len(order) // FEWEST_ERRORS))
    known = np.array([np.sqrt(np.mean(deviations[group] ** 2)) for group in groups])
    squares = np.array([np.mean(errors[group] ** 2) for group in groups])
    sizes = np.array([len(group) for group in groups], float)
    true = np.sqrt(isotonic_regression(squares, weights=sizes).x)
    # Deviations of one value make one knot.
    apart = np.append(np.diff(known) > 1e-12 * known[-1], True) & (true > 0)
    return np.stack([known[apart], true[apart]])
