"""Functions of one variable as cubic splines on equally spaced knots.

A spline of degree 3 has a continuous second derivative, and a value costs four multiply-adds,
however costly the function that it stands for. Each interval has a polynomial of its own. The
coefficients of B-splines would be four times fewer, but a slope is a difference of those divided by
the length of an interval, which in float32 leaves four digits where intervals are thousandths.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int
from scipy.interpolate import make_lsq_spline

from tensornet_jax.ops.messages.message import rows

DEGREE = 3
ORDER = DEGREE + 1
"""Coefficients of one interval."""
# The pieces of the B-splines that overlap on an interval, as polynomials of its t in [0, 1), lowest
# power first.
_PIECES = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6


def fit_spline(
    places: Float[np.ndarray, " samples"],
    values: Float[np.ndarray, "samples functions"],
    length: float,
    intervals: int,
) -> Float[np.ndarray, "coefficients functions"]:
    """Coefficients of the splines nearest to sampled functions, by least squares.

    Args:
        places: (K,) increasing, from 0 to `length`, several in each interval.
        values: (K, R) of R functions.
        length: of the range that is split.
        intervals: into how many equal parts.

    Returns:
        (4 · intervals, R) for `evaluate_spline`: of each interval one after the other the
        coefficients of 1, t, t² and t³, t from 0 to 1.
    """
    knots = length / intervals * np.arange(-DEGREE, intervals + DEGREE + 1)
    coefficients = make_lsq_spline(places, values, knots, DEGREE).c
    overlapping = np.stack([coefficients[k : k + intervals] for k in range(ORDER)])
    return np.einsum("kp,knr->npr", _PIECES, overlapping).reshape(ORDER * intervals, -1)


def evaluate_spline(
    coefficients: Float[Array, "coefficients functions"],
    places: Float[Array, " places"],
    length: float,
    tables: tuple[Int[Array, " places"], int] | None = None,
) -> Float[Array, "places functions"]:
    """Values of splines; derivatives by the places are those of the polynomials, hence exact.

    Args:
        coefficients: (4 · intervals, R), or those of several tables one after the other.
        places: (P,) anywhere; 0 outside of [0, length).
        length: of the range.
        tables: which table each place is looked up in, and how many there are; None for one.

    Returns:
        (P, R).
    """
    table, count = (0, 1) if tables is None else tables
    intervals = len(coefficients) // ORDER // count
    scaled = places * (intervals / length)
    interval = jnp.clip(jnp.floor(lax.stop_gradient(scaled)), 0, intervals - 1)
    inside = (places >= 0) & (places < length)
    t = jnp.where(inside, scaled - interval, 0)
    first = ORDER * (interval.astype(jnp.int32) + intervals * table)
    total = jnp.zeros((), coefficients.dtype)
    for power in range(ORDER):
        # Not Horner's scheme: its derivative would keep every partial sum, (P, R) each.
        weight = jnp.where(inside, t**power, 0)
        total = total + weight[:, None] * rows(coefficients, first + power)
    return total
