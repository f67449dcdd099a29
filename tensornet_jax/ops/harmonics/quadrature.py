"""Quadrature on the unit sphere, exact for polynomials up to a degree.

A product of spherical harmonics of degrees l1, l2 and l3 is a polynomial of degree l1 + l2 + l3
of the components of the unit vector, so a rule of that degree integrates it exactly.
"""

from functools import cache
from math import pi
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float
from scipy.integrate import lebedev_rule

from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics

QuadratureName = Literal["gauss_legendre", "lebedev"]

LEBEDEV_DEGREES = (*range(3, 32, 2), *range(35, 132, 6))
"""The degrees Lebedev and Laikov gave rules for."""


class Quadrature(NamedTuple):
    """Points and weights with ∫ f dΩ = Σ_g weights[g] f(points[g]), as read-only float64.

    Attributes:
        points: (G, 3) unit vectors.
        weights: (G,) that sum to 4π.
        degree: every polynomial up to this degree is integrated exactly.
    """

    points: Float[np.ndarray, "points 3"]
    weights: Float[np.ndarray, " points"]
    degree: int


@cache
def gauss_legendre(degree: int) -> Quadrature:
    """Gauss–Legendre nodes in cos β about the y axis, times equally spaced azimuths.

    ⌊degree/2⌋ + 1 nodes are exact in cos β and degree + 1 azimuths for all orders |m| ≤ degree:
    (degree + 1)(⌊degree/2⌋ + 1) points.

    Args:
        degree: at least 0.

    Raises:
        ValueError: the degree is negative.
    """
    _check_degree(degree)
    cosines, cosine_weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    num_azimuths = degree + 1
    azimuths = 2 * pi * np.arange(num_azimuths) / num_azimuths
    sines = np.sqrt(1 - cosines**2)[:, None]
    x, y, z = np.broadcast_arrays(
        sines * np.sin(azimuths), cosines[:, None], sines * np.cos(azimuths)
    )
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    weights = np.repeat(cosine_weights * 2 * pi / num_azimuths, num_azimuths)
    return _frozen(points, weights, degree)


@cache
def lebedev(degree: int) -> Quadrature:
    """The smallest Lebedev rule of at least this degree (Dokl. Math. 59, 477 (1999)).

    It has about two thirds of the points of `gauss_legendre` and the symmetry of the octahedron,
    inversion included. The rules of degree 13, 25 and 27 have some negative weights; they are no
    less exact, and rounding grows at most by the sum of the absolute weights over 4π, 1.7.

    Args:
        degree: at least 0; the rule may be of a higher degree, which `Quadrature.degree` tells.

    Raises:
        ValueError: the degree is negative, or above the highest rule's.
    """
    _check_degree(degree)
    found = next((rule for rule in LEBEDEV_DEGREES if rule >= degree), None)
    if found is None:
        degrees = ", ".join(map(str, LEBEDEV_DEGREES))
        raise ValueError(
            f"no Lebedev rule is exact to degree {degree}, the degrees are {degrees}: "
            "use gauss_legendre"
        )
    points, weights = lebedev_rule(found)
    return _frozen(np.ascontiguousarray(points.T), weights, found)


def sphere_quadrature(name: QuadratureName, needed: int, degree: int | None = None) -> Quadrature:
    """The rule of that name that is exact to the degree a calculation needs.

    Args:
        name: ``gauss_legendre`` or ``lebedev``.
        needed: the degree of the highest polynomial integrated.
        degree: a higher one, to have more points; None for the one needed.

    Raises:
        ValueError: the name is unknown, or the degree below the one needed: such a grid would
            alias high degrees onto low ones.
    """
    rules = {"gauss_legendre": gauss_legendre, "lebedev": lebedev}
    if name not in rules:
        names = ", ".join(get_args(QuadratureName))
        raise ValueError(f"unknown quadrature {name!r}: use one of {names}")
    if degree is not None and degree < needed:
        raise ValueError(
            f"a grid exact to degree {degree} is too small and would alias: "
            f"degree {needed} is needed, or None for just that"
        )
    return rules[name](needed if degree is None else degree)


@cache
def product_grid(name: QuadratureName, degree: int) -> Quadrature:
    """A rule with points of weight zero appended, up to a multiple of eight points.

    XLA's matrix products on CPU are up to twice as fast where rows fill whole vector registers.
    """
    rule = sphere_quadrature(name, degree)
    missing = -len(rule.weights) % 8
    points = np.concatenate([rule.points, np.tile(rule.points[:1], (missing, 1))])
    return _frozen(points, np.pad(rule.weights, (0, missing)), rule.degree)


@cache
def harmonics_on_grid(
    name: QuadratureName, degree: int, l_max: int
) -> Float[np.ndarray, "points components"]:
    """Orthonormal spherical harmonics at the points of `product_grid(name, degree)`.

    Returns:
        (G, (l_max + 1)²) float64, read-only.
    """
    values = solid_harmonics(product_grid(name, degree).points, l_max)
    values.setflags(write=False)
    return values


def _check_degree(degree: int) -> None:
    if degree < 0:
        raise ValueError(f"degree {degree} of a quadrature must not be negative")


def _frozen(points: np.ndarray, weights: np.ndarray, degree: int) -> Quadrature:
    points.setflags(write=False)
    weights.setflags(write=False)
    return Quadrature(points, weights, degree)
