"""Coupling coefficients of real spherical harmonics, exact to rounding.

They follow e3nn: order m = −l … l with sin(|m|α) for m < 0 and cos(mα) for m > 0, polar axis y, no
Condon–Shortley phase, so that degree 1 is (x, y, z). Every number is the square root of a ratio of
integers, and those integers are what is computed.
"""

from fractions import Fraction
from functools import cache
from math import comb, factorial, pi, sqrt

import numpy as np
from jaxtyping import Float


def clebsch_gordan(l1: int, l2: int, l3: int) -> Float[np.ndarray, "m1 m2 m3"]:
    """Clebsch–Gordan coefficients of real spherical harmonics, with Σ C² = 1.

    Sign and order are those of `e3nn_jax.clebsch_gordan`. Where l1 + l2 + l3 is even they are
    positive multiples of the Gaunt coefficients.

    Args:
        l1, l2, l3: degrees, at least 0.

    Returns:
        (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) float64, read-only; zero unless |l1 − l2| ≤ l3 ≤ l1 + l2.

    Raises:
        ValueError: a degree is negative.
    """
    _check(l1, l2, l3)
    return _clebsch_gordan(l1, l2, l3)


def gaunt(l1: int, l2: int, l3: int) -> Float[np.ndarray, "m1 m2 m3"]:
    """Gaunt coefficients ∫ Y_{l1 m1} Y_{l2 m2} Y_{l3 m3} of orthonormal real harmonics.

    Args:
        l1, l2, l3: degrees, at least 0.

    Returns:
        (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) float64, read-only; zero where l1 + l2 + l3 is odd.

    Raises:
        ValueError: a degree is negative.
    """
    _check(l1, l2, l3)
    coefficients = gaunt_ratio(l1, l2, l3) * _clebsch_gordan(l1, l2, l3)
    coefficients.setflags(write=False)
    return coefficients


def gaunt_ratio(l1: int, l2: int, l3: int) -> float:
    """Gaunt over Clebsch–Gordan coefficients, √((2l1+1)(2l2+1)(2l3+1)/4π) |(l1 l2 l3; 0 0 0)|."""
    dimensions = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
    return sqrt(dimensions / (4 * pi)) * abs(wigner_3j(l1, l2, l3, 0, 0, 0))


def is_triangle(l1: int, l2: int, l3: int) -> bool:
    """Whether two degrees couple to a third, |l1 − l2| ≤ l3 ≤ l1 + l2."""
    return abs(l1 - l2) <= l3 <= l1 + l2


def wigner_3j(l1: int, l2: int, l3: int, m1: int, m2: int, m3: int) -> float:
    """The 3j symbol (l1 l2 l3; m1 m2 m3) of integer degrees."""
    if m1 + m2 + m3 or not is_triangle(l1, l2, l3):
        return 0.0
    if abs(m1) > l1 or abs(m2) > l2 or abs(m3) > l3:
        return 0.0
    sign = -1 if (l1 - l2 - m3) % 2 else 1
    return sign * _complex_coefficient(l1, l2, l3, m1, m2)


def wigner_6j(j1: int, j2: int, j3: int, j4: int, j5: int, j6: int) -> float:
    """The 6j symbol {j1 j2 j3; j4 j5 j6} of integer degrees, by Racah's sum."""
    triads = ((j1, j2, j3), (j1, j5, j6), (j4, j2, j6), (j4, j5, j3))
    if not all(is_triangle(*triad) for triad in triads):
        return 0.0
    squared = Fraction(1)
    for a, b, c in triads:
        squared *= Fraction(
            factorial(a + b - c) * factorial(a - b + c) * factorial(-a + b + c),
            factorial(a + b + c + 1),
        )
    pairs = (j1 + j2 + j4 + j5, j2 + j3 + j5 + j6, j3 + j1 + j6 + j4)
    total = Fraction(0)
    for t in range(max(sum(triad) for triad in triads), min(pairs) + 1):
        below = [factorial(t - sum(triad)) for triad in triads]
        below += [factorial(pair - t) for pair in pairs]
        term = Fraction(factorial(t + 1))
        for number in below:
            term /= number
        total += -term if t % 2 else term
    return _signed_root(total, squared)


def _check(*degrees: int) -> None:
    if min(degrees) < 0:
        raise ValueError(f"degrees {degrees} must not be negative")


def _signed_root(factor: int | Fraction, squared: Fraction) -> float:
    """The value factor · √squared, rounded once before the root and once after it."""
    magnitude = sqrt(Fraction(factor) ** 2 * squared)
    return -magnitude if factor < 0 else magnitude


def _complex_coefficient(l1: int, l2: int, l3: int, m1: int, m2: int) -> float:
    """⟨l1 m1 l2 m2 | l3 m1+m2⟩ / √(2 l3 + 1) with Condon and Shortley's phase.

    Racah's sum written with binomials, which makes it a sum of integers.
    """
    m3 = m1 + m2
    a, b, c = l1 + l2 - l3, l1 - l2 + l3, -l1 + l2 + l3
    lowest = max(0, l1 - m1 - b, l2 + m2 - c)
    highest = min(a, l1 - m1, l2 + m2)
    total = sum(
        (-1) ** k * comb(a, k) * comb(b, l1 - m1 - k) * comb(c, l2 + m2 - k)
        for k in range(lowest, highest + 1)
    )
    numerator = 1
    for degree, order in ((l1, m1), (l2, m2), (l3, m3)):
        numerator *= factorial(degree + order) * factorial(degree - order)
    denominator = factorial(l1 + l2 + l3 + 1) * factorial(a) * factorial(b) * factorial(c)
    return _signed_root(total, Fraction(numerator, denominator))


@cache
def _clebsch_gordan(l1: int, l2: int, l3: int) -> np.ndarray:
    coefficients = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    if is_triangle(l1, l2, l3):
        of_complex = np.zeros(coefficients.shape, complex)
        for m1 in range(-l1, l1 + 1):
            for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
                of_complex[l1 + m1, l2 + m2, l3 + m1 + m2] = _complex_coefficient(
                    l1, l2, l3, m1, m2
                )
        first, second, third = (_complex_from_real(degree) for degree in (l1, l2, l3))
        coefficients = np.einsum(
            "ia,jb,kc,ijk->abc", first, second, third.conj(), of_complex, optimize=True
        ).real
        # The change of basis leaves rounding where selection rules say zero.
        coefficients[np.abs(coefficients) < 1e-14] = 0.0
    coefficients.setflags(write=False)
    return coefficients


def _complex_from_real(degree: int) -> np.ndarray:
    """Complex harmonics (rows) in terms of real ones, times (−i)^l, which makes C real."""
    basis = np.zeros((2 * degree + 1, 2 * degree + 1), complex)
    basis[degree, degree] = 1
    for m in range(1, degree + 1):
        sign = (-1) ** m
        basis[degree - m, degree + m] = sqrt(0.5)
        basis[degree - m, degree - m] = -1j * sqrt(0.5)
        basis[degree + m, degree + m] = sign * sqrt(0.5)
        basis[degree + m, degree - m] = 1j * sign * sqrt(0.5)
    return (-1j) ** degree * basis
