"""Radial basis functions and cutoff envelopes of an interatomic distance.

Symbols follow arXiv:2306.06482 and arXiv:2402.17660; the numbers are those of torchmd-net 3.1.0.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float


def cosine_envelope(
    distances: Float[Array, "*shape"], cutoff: float, cutoff_lower: float = 0.0
) -> Float[Array, "*shape"]:
    """Cosine cutoff function (Eq. 8, arXiv:2402.17660), exactly 0 from ``cutoff`` on.

    With ``cutoff_lower`` > 0 it rises from 0 there to 1 halfway and falls back to 0 at ``cutoff``.

    Args:
        distances: (...) Å.
        cutoff: upper cutoff, Å.
        cutoff_lower: lower cutoff, Å.

    Returns:
        (...) between 0 and 1.
    """
    if cutoff_lower == 0:
        value = 0.5 * (jnp.cos(distances * (np.pi / cutoff)) + 1)
        return jnp.where(distances < cutoff, value, 0)
    phase = np.pi * (2 * (distances - cutoff_lower) / (cutoff - cutoff_lower) + 1)
    inside = (distances > cutoff_lower) & (distances < cutoff)
    return jnp.where(inside, 0.5 * (jnp.cos(phase) + 1), 0)


def polynomial_envelope(
    distances: Float[Array, "*shape"], cutoff: float, exponent: int = 6
) -> Float[Array, "*shape"]:
    """Polynomial cutoff function (Eq. 8, arXiv:2003.03123), exactly 0 from the cutoff.

    Its first and second derivatives vanish at the cutoff, where the second derivative of the
    cosine function steps.

    Args:
        distances: (...) Å.
        cutoff: Å.
        exponent: p, at least 1: the function leaves 1 as distance to the power p.

    Returns:
        (...) from 1 at distance 0 to 0.
    """
    x = distances / cutoff
    # 1 − ½(p+1)(p+2) x^p + p(p+2) x^(p+1) − ½p(p+1) x^(p+2) in a form without cancellation near
    # x = 1: (1 − x)³ times the first p terms of the series of (1 − x)⁻³.
    series = jnp.zeros_like(x)
    for k in reversed(range(exponent)):
        series = series * x + (k + 1) * (k + 2) // 2
    value = (1 - x) ** 3 * series
    return jnp.where(distances < cutoff, value, 0)


def switched_off(
    distances: Float[Array, "*shape"], cutoff: float, width: float
) -> Float[Array, "*shape"]:
    """1 up to `width` before the cutoff, then a quintic with two continuous derivatives to 0.

    Args:
        distances: (...) Å.
        cutoff: Å.
        width: Å; 0 for a step.
    """
    if width == 0:
        return jnp.where(distances < cutoff, 1, 0).astype(distances.dtype)
    t = jnp.clip((distances - (cutoff - width)) / width, 0, 1)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2)


def bessel(
    distances: Float[Array, "*shape"], num_radial: int, cutoff: float
) -> Float[Array, "*shape radial"]:
    """Spherical Bessel functions √(2/c) sin(nπd/c)/d, n = 1 … R (Eq. 7, arXiv:2003.03123).

    Args:
        distances: (...) Å; finite at 0, with all derivatives.
        num_radial: R.
        cutoff: c, Å.

    Returns:
        (..., R) Å^(−3/2), without envelope.
    """
    frequencies = np.arange(1, num_radial + 1) / cutoff
    # sinc(x) = sin(πx)/(πx).
    return np.sqrt(2 / cutoff) * np.pi * frequencies * jnp.sinc(frequencies * distances[..., None])


def smooth_bessel(
    distances: Float[Array, "*shape"], num_radial: int, cutoff: float
) -> Float[Array, "*shape radial"]:
    """Orthonormal functions that vanish at the cutoff together with their slopes.

    The radial basis of MatGL's "SphericalBessel" with ``use_smooth``: of the spherical Bessel
    functions of order 0, neighbors in n are combined so that slopes cancel at the cutoff, and the
    results are made orthonormal with weight d² (Kocer, Mason, Erturk, AIP Advances 9, 015009
    (2019), doi:10.1063/1.5084871; Eq. 9, arXiv:2202.02450).

    Args:
        distances: (...) Å; finite at 0, with all derivatives.
        num_radial: R.
        cutoff: c, Å.

    Returns:
        (..., R) Å^(−3/2), without envelope.
    """
    order = np.arange(1, num_radial + 1)
    size = (-1) ** (order - 1) * np.sqrt(2) * np.pi * order * (order + 1) / cutoff**1.5
    size /= np.hypot(order, order + 1)
    # sinc(x) = sin(πx)/(πx).
    waves = jnp.sinc(np.arange(1, num_radial + 2) / cutoff * distances[..., None])
    mixing = jnp.asarray(orthonormalization_of_smooth_bessel(num_radial), distances.dtype)
    without_slope = size * (waves[..., :-1] + waves[..., 1:])
    return jnp.matmul(without_slope, mixing.T, precision=lax.Precision.HIGHEST)


def orthonormalization_of_smooth_bessel(num_radial: int) -> Float[np.ndarray, "radial radial"]:
    """Return the (R, R) lower triangular matrix of a recursion of two terms, see `smooth_bessel`.

    It makes sums of neighboring Bessel functions orthonormal, of which only neighbors overlap.
    """
    mixing = np.eye(num_radial)
    norm = 1.0
    for n in range(1, num_radial):
        overlap = (n * (n + 2)) ** 2 / (4 * (n + 1) ** 4 + 1) / norm
        norm = 1 - overlap
        mixing[n] = (mixing[n] + np.sqrt(overlap) * mixing[n - 1]) / np.sqrt(norm)
    return mixing


def expnorm_parameters(
    num_radial: int, cutoff: float, cutoff_lower: float = 0.0
) -> tuple[Float[np.ndarray, " radial"], Float[np.ndarray, " radial"]]:
    """Start values of the means and widths of `expnorm` (Eq. 7, arXiv:2402.17660).

    Returns:
        means (num_radial,) and betas (num_radial,), float64, without unit.
    """
    start = np.exp(cutoff_lower - cutoff)
    means = np.linspace(start, 1.0, num_radial)
    betas = np.full(num_radial, (2 / num_radial * (1 - start)) ** -2)
    return means, betas


def expnorm(
    distances: Float[Array, "*shape"],
    means: Float[Array, " radial"],
    betas: Float[Array, " radial"],
    cutoff: float,
    cutoff_lower: float = 0.0,
) -> Float[Array, "*shape radial"]:
    """Gaussians of exp(−α(d − lower)) with α = 5/(cutoff − lower), without envelope.

    Args:
        distances: (...) Å.
        means: (R,) centers on the exponential scale.
        betas: (R,) inverse squared widths.
        cutoff: Å.
        cutoff_lower: Å.

    Returns:
        (..., R).
    """
    alpha = 5.0 / (cutoff - cutoff_lower)
    decay = jnp.exp(-alpha * (distances - cutoff_lower))[..., None]
    return jnp.exp(-betas * (decay - means) ** 2)


def gaussian_parameters(
    num_radial: int, cutoff: float, cutoff_lower: float = 0.0
) -> tuple[Float[np.ndarray, " radial"], Float[np.ndarray, ""]]:
    """Start values of `gaussian`: offsets (R,) in Å and the coefficient −1/(2Δ²) in Å⁻²."""
    offsets = np.linspace(cutoff_lower, cutoff, num_radial)
    if num_radial < 2:
        raise ValueError("gaussian radial functions need num_radial >= 2")
    return offsets, np.asarray(-0.5 / (offsets[1] - offsets[0]) ** 2)


def gaussian(
    distances: Float[Array, "*shape"],
    offsets: Float[Array, " radial"],
    coefficient: Float[Array, ""],
) -> Float[Array, "*shape radial"]:
    """Equally wide Gaussians of the distance, exp(coefficient · (d − offset)²).

    Args:
        distances: (...) Å.
        offsets: (R,) Å.
        coefficient: () Å⁻², negative.

    Returns:
        (..., R).
    """
    return jnp.exp(coefficient * (distances[..., None] - offsets) ** 2)


def chebyshev(distances: Float[Array, "*shape"], num_radial: int) -> Float[Array, "*shape radial"]:
    """Chebyshev polynomials T_n, n = 1 … R, of a distance that is made to lie in 0 … 1.

    Args:
        distances: (...) without unit, such as `agnesi_transform` makes.
        num_radial: R.

    Returns:
        (..., R).
    """
    found = [jnp.ones_like(distances), distances]
    for _ in range(num_radial - 1):
        found.append(2 * distances * found[-1] - found[-2])
    return jnp.stack(found[1:], axis=-1)


def agnesi_transform(
    distances: Float[Array, "*shape"],
    lengths: Float[Array, "*shape"],
    constants: Float[Array, "3"],
) -> Float[Array, "*shape"]:
    """Agnesi transform 1/(1 + a x^q/(1 + x^(q−p))), x = d/length (doi:10.1063/5.0158783).

    Args:
        distances: (...) Å; at 0, where the slope is infinite, the derivative is 0.
        lengths: (...) Å, mean covalent radius of both atoms.
        constants: q, p and a.

    Returns:
        (...) from 1 at distance 0 to 0.
    """
    q, p, a = constants
    apart = distances > 0
    x = jnp.where(apart, distances, 1) / lengths
    return jnp.where(apart, 1 / (1 + a * x**q / (1 + x ** (q - p))), 1)


AGNESI = (0.9183, 4.5791, 1.0805)
"""The constants q, p and a of mace-torch."""


def soft_transform(
    distances: Float[Array, "*shape"], lengths: Float[Array, "*shape"], steepness: ArrayLike
) -> Float[Array, "*shape"]:
    """A distance that goes over into a constant below the sum of the covalent radii.

    mace-torch's: d ↦ p₀ + (d − p₀) (1 + tanh(α (d − m)/(p₁ − p₀)))/2 with p₀ = ¾ length,
    p₁ = 4/3 length and m halfway.

    Args:
        distances: (...) Å.
        lengths: (...) Å, sum of the covalent radii of both atoms.
        steepness: α; mace-torch has 4.

    Returns:
        (...) Å.
    """
    low, high = 3 / 4 * lengths, 4 / 3 * lengths
    phase = steepness * (distances - (low + high) / 2) / (high - low)
    return low + (distances - low) * 0.5 * (1 + jnp.tanh(phase))
