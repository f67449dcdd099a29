"""How finely an Ewald sum resolves reciprocal space: chosen on the host, by numpy alone.

Formulas for the potential itself are in `ewald` and `pme`.
"""

import math

import numpy as np
from jaxtyping import Float, Int

ORDER = 6
"""Order of the splines: four continuous derivatives, enough for Hessians and for training forces.
It must be even: an odd order has no inverse at the mesh's highest frequency."""

MeshShape = tuple[int, int, int]


def splitting_of(cutoff: float, accuracy: float) -> float:
    """α in Å⁻¹ for which erfc(αd) has fallen to about `accuracy` at the cutoff, in Å."""
    return math.sqrt(-math.log(accuracy)) / cutoff


def reciprocal_cutoff(splitting: float, accuracy: float) -> float:
    """Length of k in Å⁻¹ from which on exp(−k²/4α²), α the splitting, is below `accuracy`."""
    return 2 * splitting * math.sqrt(-math.log(accuracy))


def reciprocal_indices(
    cell: Float[np.ndarray, "3 3"], cutoff: float
) -> Int[np.ndarray, "k_vectors 3"]:
    """Integers n of the reciprocal lattice vectors 0 < |k| ≤ cutoff, one of each pair k and −k.

    Args:
        cell: (3, 3) rows are lattice vectors, Å.
        cutoff: Å⁻¹.

    Returns:
        (K, 3) int32.
    """
    # |n_i| = |k·a_i|/2π.
    most = np.floor(cutoff * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    a, b, c = (np.arange(-m, m + 1) for m in most)
    a = a[most[0] :]
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    n = np.stack(np.meshgrid(a, b, c, indexing="ij"), axis=-1).reshape(-1, 3)
    # Of k and −k the one whose first number that is not 0 is positive.
    leading = np.where(n[:, 0] != 0, n[:, 0], np.where(n[:, 1] != 0, n[:, 1], n[:, 2]))
    n = n[leading > 0]
    return n[np.linalg.norm(n @ reciprocal, axis=1) <= cutoff].astype(np.int32)


def mesh_spacing(splitting: float, accuracy: float) -> float:
    """Distance of mesh points in Å for an error of about `accuracy` in the potential, in e/Å.

    The error of a random crystal of unit charges was 0.005 (αh)⁶ for a spacing h, down to 10⁻⁸; and
    the mesh must carry the waves that are not negligible.
    """
    finest_wave = math.pi / reciprocal_cutoff(splitting, accuracy)
    return min((accuracy / 0.005) ** (1 / ORDER) / splitting, finest_wave)


def mesh_shape(cell: Float[np.ndarray, "3 3"], spacing: float) -> MeshShape:
    """Return the points along each lattice vector, at most a spacing apart.

    Sizes have no prime factor above 5, which Fourier transforms like, and grow in steps: a cell
    that changes a little keeps its mesh.

    Args:
        cell: (3, 3) rows are lattice vectors, Å.
        spacing: Å.
    """
    needed = np.linalg.norm(cell, axis=1) / spacing
    a, b, c = (_smooth_size(max(math.ceil(points), ORDER)) for points in needed)
    return a, b, c


def _smooth_size(size: int) -> int:
    """Return the next size without a prime factor above 5."""
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1
