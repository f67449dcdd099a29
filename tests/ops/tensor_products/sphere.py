"""Independent references on the sphere: SciPy's harmonics and a grid much finer than any product's.

Polar axis y and azimuth atan2(x, z), so e3nn's real harmonics are combinations of SciPy's complex
ones with θ = β and φ = α.
"""

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import roots_legendre, sph_harm_y


def angles(points):
    x, y, z = np.moveaxis(points, -1, 0)
    return np.arctan2(np.hypot(x, z), y), np.arctan2(x, z)


def real_from_complex(values_of_order, l_max):
    """Real harmonics stacked in e3nn's order from a function of (l, |m|)."""
    columns = []
    for degree in range(l_max + 1):
        for m in range(-degree, degree + 1):
            value = values_of_order(degree, abs(m))
            scale = np.sqrt(2) * (-1) ** m if m else 1
            columns.append(scale * (value.imag if m < 0 else value.real))
    return np.stack(columns, axis=-1)


def harmonics(points, l_max):
    """(..., (l_max + 1)²) orthonormal real harmonics."""
    theta, phi = angles(points)
    return real_from_complex(lambda degree, m: sph_harm_y(degree, m, theta, phi), l_max)


def gradients(points, l_max):
    """(..., (l_max + 1)², 2): components of r∇Y along θ̂ and φ̂, with θ̂ × φ̂ = r̂."""
    theta, phi = angles(points)

    def along(axis):
        return real_from_complex(
            lambda degree, m: sph_harm_y(degree, m, theta, phi, diff_n=1)[1][..., axis], l_max
        )

    return np.stack([along(0), along(1) / np.sin(theta)[..., None]], axis=-1)


@cache
def fine_grid(num_nodes=28):
    """Points (G, 3) and weights (G,) exact to degree 55."""
    cosines, weights = roots_legendre(num_nodes)
    phi = (np.arange(2 * num_nodes) + 0.3) * np.pi / num_nodes
    sines = np.sqrt(1 - cosines**2)[:, None]
    points = np.stack(
        np.broadcast_arrays(sines * np.sin(phi), cosines[:, None], sines * np.cos(phi)), axis=-1
    )
    return points.reshape(-1, 3), np.repeat(weights * np.pi / num_nodes, 2 * num_nodes)


@cache
def fine_harmonics(l_max):
    return harmonics(fine_grid()[0], l_max)


@cache
def fine_gradients(l_max):
    return gradients(fine_grid()[0], l_max)


def random_rotation(seed=0):
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


def rotation_of_features(rotation, l_max):
    """D with Y(R r) = D Y(r), by least squares over random directions."""
    points = np.random.default_rng(1).normal(size=(4 * (l_max + 1) ** 2, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    before, after = harmonics(points, l_max), harmonics(points @ rotation.T, l_max)
    return np.linalg.lstsq(before, after)[0].T


def inversion_of_features(l_max):
    """(−1)^l for each component."""
    return np.concatenate([np.full(2 * degree + 1, (-1) ** degree) for degree in range(l_max + 1)])


def relative_error(value, reference):
    return np.abs(np.asarray(value) - reference).max() / np.abs(reference).max()
