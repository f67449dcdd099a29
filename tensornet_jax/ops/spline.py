"""Functions of one variable as cubic B-splines on equally spaced knots.

A spline of degree 3 has a continuous second derivative, and at any place only four of its
coefficients count: a value costs four multiply-adds, however costly the function that it stands
for.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from scipy.interpolate import make_lsq_spline

from tensornet_jax.ops.message import rows

DEGREE = 3
# The pieces of the B-splines that overlap on an interval, as polynomials of its t in [0, 1), lowest
# power first.
_PIECES = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6


def fit_spline(places: np.ndarray, values: np.ndarray, length: float, intervals: int) -> np.ndarray:
    """Coefficients of the splines nearest to sampled functions, by least squares.

    Args:
        places: (K,) increasing, from 0 to `length`, several in each interval.
        values: (K, R) of R functions.
        length: of the range that is split.
        intervals: into how many equal parts.

    Returns:
        (intervals + 3, R), for `evaluate_spline`.
    """
    knots = length / intervals * np.arange(-DEGREE, intervals + DEGREE + 1)
    return make_lsq_spline(places, values, knots, DEGREE).c


def evaluate_spline(coefficients: Array, places: Array, length: float) -> Array:
    """Values of splines; derivatives by the places are those of the polynomials, hence exact.

    Args:
        coefficients: (intervals + 3, R).
        places: (P,) anywhere; 0 outside of [0, length).
        length: of the range.

    Returns:
        (P, R).
    """
    intervals = len(coefficients) - DEGREE
    scaled = places * (intervals / length)
    first = jnp.clip(jnp.floor(lax.stop_gradient(scaled)), 0, intervals - 1)
    inside = (places >= 0) & (places < length)
    t = jnp.where(inside, scaled - first, 0)
    index = first.astype(jnp.int32)
    total = jnp.zeros((), coefficients.dtype)
    for k, piece in enumerate(_PIECES):
        weight = sum(float(c) * t**power for power, c in enumerate(piece))
        weight = jnp.where(inside, weight, 0)
        total = total + weight[:, None] * rows(coefficients, index + k)
    return total
