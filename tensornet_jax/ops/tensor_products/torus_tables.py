"""Conversions between spherical components and Fourier coefficients on the torus, exact tables.

Into the torus they are discrete Fourier transforms of polynomials that are sampled often enough,
out of it analytic integrals; no quadrature is cut off. See `gaunt_fourier`.
"""

from functools import cache
from math import pi

import numpy as np
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics


@cache
def polar_series(l_max: int) -> Float[np.ndarray, "components frequencies"]:
    """Y_lm at α = 0 (m < 0: of −m) as a series in cos(uβ), sin(uβ) for odd m, (size, l_max + 1).

    A trigonometric polynomial of degree l_max is determined by 2 l_max + 2 samples.
    """
    samples = 2 * l_max + 2
    beta = 2 * pi * np.arange(samples) / samples
    values = solid_harmonics(np.stack([0 * beta, np.cos(beta), np.sin(beta)], axis=-1), l_max)
    degrees = Degrees(0, l_max)
    orders, of_components = degrees.orders, degrees.of_components
    cosines = [degrees.index(l, abs(m)) for l, m in zip(of_components, orders, strict=True)]  # noqa: E741
    spectrum = np.fft.rfft(values[:, cosines], axis=0)
    series = np.where(orders % 2 == 0, spectrum.real, -spectrum.imag)[: l_max + 1].T / samples
    series[:, 1:] *= 2
    u = np.arange(l_max + 1)
    absent = (u > of_components[:, None]) | ((u + of_components[:, None]) % 2 == 1)
    return np.where(absent, 0.0, series)


def projected_series(degrees: Degrees, band: int) -> Float[np.ndarray, "components frequencies"]:
    """z_lm of cos(uβ) (odd m: sin(uβ)) times cos(mα) or sin(|m|α), (size, band + 1).

    The integrals over β are of products to sums: ∫_0^π cos(nβ) sin β dβ = 2/(1 − n²) for even n,
    and 0 for odd n.
    """
    u, n = np.arange(band + 1)[:, None], np.arange(degrees.last + 1)
    difference, total = _sine_weighted_integral(u - n), _sine_weighted_integral(u + n)
    orders = degrees.orders[:, None]
    series = polar_series(degrees.last)[degrees.first**2 :]
    integrals = np.where(
        orders % 2 == 0, series @ (difference + total).T / 2, series @ (difference - total).T / 2
    )
    integrals *= np.where(orders == 0, 2 * pi, pi)
    # Orthogonality makes these zero; rounding would not.
    return np.where(degrees.of_components[:, None] > band, 0.0, integrals)


def _sine_weighted_integral(n: np.ndarray) -> np.ndarray:
    return np.where(n % 2 == 0, 2 / (1 - np.where(n % 2 == 0, n, 0.0) ** 2), 0.0)


@cache
def to_spectrum(degrees: Degrees, num_polar: int) -> Float[np.ndarray, "components coefficients"]:
    """From features to the spectra of the signals that `_to_torus` describes.

    Returns:
        (size, flattened (Re and Im of the spectrum, Re and Im of an order, pairs, frequencies)).
    """
    orders, u = degrees.orders, np.arange(degrees.last + 1)
    azimuthal = np.where(orders == 0, 1, 0.5) * np.where(orders < 0, -1, 1)
    azimuthal = azimuthal * np.where(orders % 2 == 0, 1, -1j)
    # Halves: a real signal's two frequencies ±u, and the even and odd part of a function.
    polar = np.where(u == 0, 0.5, 0.25) * np.exp(1j * pi * u / num_polar)
    series = polar_series(degrees.last)[degrees.first**2 :]
    table = np.zeros((degrees.size, 2, degrees.last // 2 + 1, u.size), complex)
    part, pair = np.where(orders < 0, 1, 0), np.abs(orders) // 2
    table[np.arange(degrees.size), part, pair] = azimuthal[:, None] * polar * series
    return _read_only(np.stack(_parts(table), axis=1).reshape(degrees.size, -1))


@cache
def from_spectrum(
    degrees: Degrees, band: int, num_orders: int
) -> Float[np.ndarray, "coefficients components"]:
    """From such spectra of the product to features; the transposed layout of `to_spectrum`."""
    orders, u = degrees.orders, np.arange(band + 1)
    factors = _read_factors(orders, odd=1j, negative=-1)
    polar = np.where(u == 0, 1, 2) * np.exp(-1j * pi * u / (2 * band + 2))
    # One more frequency, Nyquist's, which no signal has.
    table = np.zeros((2, (num_orders + 1) // 2, band + 2, degrees.size), complex)
    for component in np.flatnonzero(abs(orders) < num_orders):
        part, pair = int(orders[component] < 0), abs(orders[component]) // 2
        table[part, pair, : band + 1, component] = factors[component] * polar
    table[:, :, : band + 1] *= projected_series(degrees, band).T
    return _read_only(np.stack(_parts(table.conj())).reshape(-1, degrees.size))


@cache
def to_coefficients(
    degrees: Degrees, polar: tuple[int, int], orders: tuple[int, int]
) -> Float[np.ndarray, "2 u v components"]:
    """From features to Re and Im of F_uv, (2, U, V, size); the bounds of u and v are included."""
    m = degrees.orders
    u, v = (_inclusive(*bounds) for bounds in (polar, orders))
    series = np.zeros((degrees.size, np.max(np.abs(u)) + 1))
    known = polar_series(degrees.last)[degrees.first**2 :]
    series[:, : known.shape[1]] = known[:, : series.shape[1]]
    # exp(iuβ) of cos(uβ) has ½, of sin(uβ) −i/2 for u > 0 and i/2 for u < 0; α likewise.
    of_polar = np.where(u == 0, 1, 0.5) * np.where((m % 2 == 0)[:, None], 1, -1j * np.sign(u))
    of_azimuth = np.where(v == 0, 1, 0.5) * np.where((m >= 0)[:, None], 1, -1j * np.sign(v))
    of_azimuth = np.where(np.abs(v) == np.abs(m)[:, None], of_azimuth, 0)
    table = np.einsum("su,sv->uvs", of_polar * series[:, np.abs(u)], of_azimuth)
    return _read_only(np.stack(_parts(table)))


@cache
def from_coefficients(
    degrees: Degrees, band: int, num_orders: int
) -> Float[np.ndarray, "2 u v components"]:
    """From Re and Im of F_uv, u = 0 … band and v = 0 …, to features, (2, U, V, size)."""
    orders, u = degrees.orders, np.arange(band + 1)
    factors = _read_factors(orders, odd=1j, negative=1j)
    known = abs(orders) == np.arange(num_orders)[:, None]
    polar = np.where(u == 0, 1, 2)[:, None] * projected_series(degrees, band).T
    table = np.einsum("us,vs->uvs", polar, known * factors)
    return _read_only(np.stack(_parts(table.conj())))


def _read_factors(orders: np.ndarray, odd: complex, negative: complex) -> np.ndarray:
    """What takes half-plane coefficients to those of cos and sin, as the real part of a product.

    Args:
        orders: (size,) m of the components.
        odd: the factor of odd m, whose polar functions are sines.
        negative: the factor of m < 0, whose azimuthal functions are.
    """
    factors = np.where(orders == 0, 1, 2) * np.where(orders % 2 == 0, 1, odd)
    return factors * np.where(orders < 0, negative, 1)


def _inclusive(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop + 1) if start <= stop else np.arange(start, stop - 1, -1)


def _parts(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.real(table), np.imag(table)


def _read_only(table: np.ndarray) -> np.ndarray:
    table.setflags(write=False)
    return table
