"""Vector spherical harmonics: an orthonormal basis of the vector fields on the sphere."""

from math import sqrt

import numpy as np
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, is_triangle
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics


def vector_spherical_harmonics(
    points: Float[np.ndarray, "points 3"],
    l: int,  # noqa: E741
    j: int,
) -> Float[np.ndarray, "points orders 3"]:
    """The harmonics V_{(l) j m}(r)_i = √(2j+1) Σ_n C(l, 1, j)[n, i, m] Y_{l n}(r).

    They couple a scalar harmonic of degree l and the unit vectors to degree j, so they rotate like
    Y_j: V_m(R r) = Σ_n D^j(R)_mn R V_n(r); their parity is (−1)^(l+1). Over all l and j they are
    orthonormal (Varshalovich, Quantum Theory of Angular Momentum, section 7.3; arXiv:2506.13523).
    With Ψ = r∇Y_j/√(j(j+1)), those with l = j are the tangential Ψ × r̂, and the others mix Ψ and
    Y_j r̂.

    Args:
        points: (G, 3) unit vectors.
        l: degree of the scalar harmonics.
        j: degree of the vector harmonics, |l − 1| ≤ j ≤ l + 1.

    Returns:
        (G, 2j + 1, 3) float64.

    Raises:
        ValueError: l and 1 do not couple to j.
    """
    if l < 0 or not is_triangle(l, 1, j):
        raise ValueError(f"degrees l {l} and 1 do not couple to j {j}: |l − 1| ≤ j ≤ l + 1")
    harmonics = solid_harmonics(np.asarray(points, float), l)[:, l**2 :]
    return np.einsum("gn,nim->gmi", harmonics, sqrt(2 * j + 1) * clebsch_gordan(l, 1, j))
