"""Real solid harmonics r^l Y_lm(r̂) in e3nn's order: polar axis y, degree 1 is (x, y, z)."""

from __future__ import annotations

from math import pi, sqrt

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tensornet_jax.ops.any_array import AnyArray
from tensornet_jax.ops.harmonics.degrees import Degrees, Normalization, check_normalization


def solid_harmonics(
    vectors: Float[AnyArray, "*batch 3"], l_max: int, normalization: Normalization = "integral"
) -> Float[AnyArray, "*batch components"]:
    """Real solid harmonics of degree 0 to l_max; of unit vectors, the spherical harmonics.

    They are polynomials of the components, so they and all their derivatives are finite for every
    direction and for the zero vector. With z + ix = r sin β · exp(iα) and y = r cos β, the
    azimuthal parts are the powers (z + ix)^m; the polar parts follow the three-term recursion of
    the normalized associated Legendre functions without Condon–Shortley phase, made homogeneous
    by r².

    Args:
        vectors: (..., 3), a NumPy array for a NumPy result, else a JAX array.
        l_max: highest degree, at least 0.
        normalization: ``integral``, ∫ Y² = 1 over the unit sphere; ``component``, times √4π;
            ``norm``, times √(4π/(2l+1)), so that Σ_m Y² = 1.

    Returns:
        (..., (l_max + 1)²) in the unit of ``vectors`` to the power l.

    Raises:
        ValueError: l_max is negative, or the normalization unknown.
    """
    if l_max < 0:
        raise ValueError(f"l_max {l_max} must not be negative")
    check_normalization(normalization)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    squared = x * x + y * y + z * z
    scale = sqrt(1 / (4 * pi)) if normalization == "integral" else 1.0
    components: dict[int, AnyArray] = {}
    degrees = Degrees(0, l_max)
    # √2 for the real azimuthal functions; sectoral is the constant polar part at l = m.
    cosine, sine, sectoral = 1 + 0 * x, 0 * x, scale
    for m in range(l_max + 1):
        if m:
            cosine, sine = z * cosine - x * sine, z * sine + x * cosine
            sectoral *= sqrt((2 * m + 1) / (2 * m)) * (sqrt(2) if m == 1 else 1)
        below, polar = 0.0, sectoral
        for degree in range(m, l_max + 1):
            if degree > m:
                a = sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
                b = sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
                below, polar = polar, a * (y * polar - b * squared * below)
            value = polar / sqrt(2 * degree + 1) if normalization == "norm" else polar
            components[degrees.index(degree, m)] = value * cosine
            if m:
                components[degrees.index(degree, -m)] = value * sine
    in_order = [components[i] for i in range(degrees.size)]
    if isinstance(vectors, np.ndarray):
        return np.stack(in_order, axis=-1)
    return jnp.stack(in_order, axis=-1)
