"""Wigner matrices of the frames of edges, by one product with a constant matrix.

A frame is reached by a rotation about x and one about z, so every entry of its matrices is a sum
over products of a cosine or sine of a multiple of one angle and one of the other. All entries of
all degrees are a constant matrix times these (2 l_max + 1)² products: for accelerators, whose time
goes into the number of operations and the bytes between them. `edge_frames` has the same frames.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.linear import transform_first
from tensornet_jax.ops.rotations.edge_frames import ABOUT_Y, X_POLAR, Z_POLAR, constant_d
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout
from tensornet_jax.ops.rotations.rotation import angle_multiples, in_chart


def frame_matrices(
    vectors: Float[ArrayLike, "edges 3"], l_max: int, m_max: int
) -> Float[Array, "entries edges"]:
    """Wigner matrices of `aligning_rotation`, as `EdgeLayout` has them.

    Args:
        vectors: (E, 3) any unit; a zero vector counts as ŷ, with zero derivative.
        l_max: highest degree.
        m_max: highest order |m| of the rows that are kept, from 0 to l_max.

    Returns:
        (entries, E).
    """
    turned, x, y, z, radius = in_chart(vectors)
    about_x, about_z = (
        jnp.concatenate([cosine, sine[1:]])
        for cosine, sine in (
            angle_multiples(y / radius, z / radius, l_max),
            angle_multiples(radius, x, l_max),
        )
    )
    products = about_z[:, None] * about_x[None]
    both = transform_first(_coefficients(l_max, m_max), products.reshape(-1, len(turned)))
    straight, by_a_quarter = jnp.split(both, 2)
    return jnp.where(turned, by_a_quarter, straight)


@cache
def _coefficients(l_max: int, m_max: int) -> Float[np.ndarray, "entries products"]:
    """Entries of the matrices without the rotation about y, then of those with it."""
    to_x, to_z, about_y = (constant_d(l_max, r) for r in (X_POLAR, Z_POLAR, ABOUT_Y))
    spins = _spins(l_max)
    about_x, about_z = (m.T @ spins @ m for m in (to_x, to_z))
    layout = EdgeLayout(l_max, m_max, 1)
    found = []
    for start in (np.eye(len(to_x)), about_y):
        matrices = np.einsum("zij,xjk,kl->zxil", about_z, about_x, start, optimize=True)
        matrices = matrices.reshape(-1, *start.shape)
        for degree, order in layout.rows:
            row = Degrees(0, l_max).index(degree, order)
            components = layout.components(degree)
            found.append(matrices[:, row, components.start : components.stop].T)
    return np.concatenate(found)


def _spins(l_max: int) -> Float[np.ndarray, "functions new old"]:
    """What cos kφ, k = 0 … l_max, and sin kφ, k = 1 …, multiply in a rotation about the axis by φ.

    It lowers the azimuth.
    """
    degrees = Degrees(0, l_max)
    found = np.zeros((2 * l_max + 1, degrees.size, degrees.size))
    for degree in degrees:
        for order in range(-degree, degree + 1):
            place = degrees.index(degree, order)
            found[abs(order), place, place] = 1
            if order:
                opposite = degrees.index(degree, -order)
                found[l_max + abs(order), place, opposite] = np.sign(order)
    return found
