"""Features of edges in frames whose polar axis lies along the edge, without Wigner matrices.

Between the polar axes x, y and z lie constant matrices, shared by all edges; between these a
rotation about the polar axis only mixes the orders m and −m. So features of many channels are
turned by three products with constant matrices, and no matrix is made for any edge.
"""

from functools import cache
from math import sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.linear import transform_first
from tensornet_jax.ops.rotations.rotation import angle_multiples, in_chart

# Rotations by 90° about y, and such that turn the axes x and z onto the polar axis y.
ABOUT_Y = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])
X_POLAR = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
Z_POLAR = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


class ByOrder(NamedTuple):
    """Features in the frames of edges, by order first and then by degree, components leading.

    Attributes:
        cosine: (components m ≥ 0, ...): m = 0 with l = 0 … l_max, then m = 1 with l = 1 … l_max …
        sine: (components m < 0, ...): m = −1 with l = 1 … l_max, then m = −2 …
    """

    cosine: Float[Array, "cosines ..."]
    sine: Float[Array, "sines ..."]


class EdgeFrames(NamedTuple):
    """Frames whose polar axis y lies along edges, see `edge_frames`.

    Their rotation is that of `aligning_rotation`: about y by 90° or not at all, then about x, then
    about z.

    Attributes:
        turned: (...) whether the rotation about y is made.
        about_x, about_z: cosines and sines of 0 … l_max times the angle, each (l_max + 1, ...).
    """

    turned: Bool[Array, "*batch"]
    about_x: tuple[Float[Array, "degrees ..."], Float[Array, "degrees ..."]]
    about_z: tuple[Float[Array, "degrees ..."], Float[Array, "degrees ..."]]

    def align(self, features: Float[Array, "... components"], m_max: int) -> ByOrder:
        """Turn features into the frames and keep the orders |m| ≤ m_max.

        Args:
            features: (..., (l_max + 1)²) in e3nn's order; the axes before the last broadcast
                against those of the edges.
            m_max: from 0 to l_max.

        Raises:
            ValueError: the features have degrees above the frames' l_max.
        """
        constants = self._constants(features.shape[-1], m_max)
        shape = jnp.broadcast_shapes(features.shape[:-1], self.turned.shape)
        features = jnp.broadcast_to(features, (*shape, features.shape[-1]))
        enter = constants.enter.astype(features.dtype)
        both = jnp.einsum("ij,...j->i...", enter, features, precision=lax.Precision.HIGHEST)
        straight, turned = jnp.split(both, 2)
        axial = jnp.where(self.turned, turned, straight)
        even, odd = axial[: len(constants.even_to_z)], axial[len(constants.even_to_z) :]
        even = transform_first(
            constants.even_to_z, _spin(even, self.about_x, constants.even_orders)
        )
        odd = transform_first(constants.odd_to_z, _spin(odd, self.about_x, constants.odd_orders))
        axial = _spin(jnp.concatenate([even, odd]), self.about_z, constants.orders)
        cosine, sine = axial[: len(even)], axial[len(even) :]
        return ByOrder(
            transform_first(constants.cosine_leave, cosine),
            transform_first(constants.sine_leave, sine),
        )

    def restore(self, aligned: ByOrder, l_max: int, m_max: int) -> Float[Array, "... components"]:
        """Turn features of orders |m| ≤ m_max back out of the frames; all others count as zero.

        Args:
            aligned: as from `align`.
            l_max: highest degree of the features.
            m_max: from 0 to l_max.

        Returns:
            (..., (l_max + 1)²) in e3nn's order.

        Raises:
            ValueError: l_max is above the frames'.
        """
        constants = self._constants((l_max + 1) ** 2, m_max)
        cosine = transform_first(constants.cosine_leave.T, aligned.cosine)
        sine = transform_first(constants.sine_leave.T, aligned.sine)
        shape = jnp.broadcast_shapes(cosine.shape[1:], self.turned.shape)
        axial = jnp.concatenate([cosine, sine])
        axial = jnp.broadcast_to(_pad_axes(axial, len(shape)), (len(axial), *shape))
        axial = _spin(axial, self.about_z, constants.orders, inverse=True)
        even, odd = axial[: len(cosine)], axial[len(cosine) :]
        even, odd = (
            transform_first(constants.even_to_z.T, even),
            transform_first(constants.odd_to_z.T, odd),
        )
        even = _spin(even, self.about_x, constants.even_orders, inverse=True)
        odd = _spin(odd, self.about_x, constants.odd_orders, inverse=True)
        axial = jnp.concatenate([even, odd])
        both = [jnp.where(self.turned, 0, axial), jnp.where(self.turned, axial, 0)]
        enter = constants.enter.astype(axial.dtype)
        return jnp.einsum(
            "ij,i...->...j", enter, jnp.concatenate(both), precision=lax.Precision.HIGHEST
        )

    def _constants(self, size: int, m_max: int) -> "_FrameConstants":
        l_max = round(sqrt(size)) - 1
        if (l_max + 1) ** 2 != size or l_max >= len(self.about_x[0]):
            raise ValueError(
                f"features of {size} components do not fit frames of degrees 0 to "
                f"{len(self.about_x[0]) - 1}: call edge_frames with their l_max"
            )
        if not 0 <= m_max <= l_max:
            raise ValueError(f"m_max {m_max} must be from 0 to the highest degree {l_max}")
        return _frame_constants(l_max, m_max)


def edge_frames(vectors: Float[ArrayLike, "... 3"], l_max: int) -> EdgeFrames:
    """The frames of edges, made once and used for all channels, layers and directions.

    Derivatives with respect to the vectors are finite for every direction, and right for whatever
    does not depend on the roll about the edge, such as `so2.edge_convolution`.

    Args:
        vectors: (..., 3) any unit; a zero vector counts as ŷ, with zero derivative, as in
            `aligning_rotation`.
        l_max: highest degree of the features to be turned, at least 0.

    Raises:
        ValueError: l_max is negative.
    """
    if l_max < 0:
        raise ValueError(f"l_max {l_max} must not be negative")
    turned, x, y, z, radius = in_chart(vectors)
    return EdgeFrames(
        turned, angle_multiples(y / radius, z / radius, l_max), angle_multiples(radius, x, l_max)
    )


def _pad_axes(array: Array, count: int) -> Array:
    """The array with `count` axes after its first, so that the others broadcast as in NumPy."""
    return array.reshape(array.shape[0], *(1,) * (count + 1 - array.ndim), *array.shape[1:])


def _spin(
    components: Array, angle: tuple[Array, Array], orders: np.ndarray, *, inverse: bool = False
) -> Array:
    """Rotate about the polar axis, lowering the azimuth by the angle.

    Components lead: those of m = 0, then the cosines and the sines of the given orders.
    """
    # A product with a constant matrix and not a gather, whose derivative is a slow scatter.
    choice = (orders[:, None] == np.arange(len(angle[0]))).astype(float)
    cosine, sine = (_pad_axes(transform_first(choice, part), components.ndim - 1) for part in angle)
    sine = -sine if inverse else sine
    lone = len(components) - 2 * len(orders)
    a, b = components[lone : lone + len(orders)], components[lone + len(orders) :]
    turned = [components[:lone], a * cosine + b * sine, b * cosine - a * sine]
    return jnp.concatenate(turned)


def order_indices(
    l_max: int, m_max: int
) -> tuple[Int[np.ndarray, " cosines"], Int[np.ndarray, " sines"]]:
    """Where the components of `ByOrder` stand in e3nn's order: cosines, then sines."""
    pairs = [(degree, m) for m in range(m_max + 1) for degree in range(m, l_max + 1)]
    cosine = np.array([degree**2 + degree + m for degree, m in pairs])
    return cosine, np.array([degree**2 + degree - m for degree, m in pairs if m], int)


class _FrameConstants(NamedTuple):
    """The matrices between harmonics of three polar axes, split by their parity under x → −x.

    That parity is what a rotation about x keeps. It is odd for the sines of the polar axes y and
    z, and for l − m odd with the polar axis x.
    """

    enter: np.ndarray
    even_to_z: np.ndarray
    odd_to_z: np.ndarray
    cosine_leave: np.ndarray
    sine_leave: np.ndarray
    even_orders: np.ndarray
    odd_orders: np.ndarray
    orders: np.ndarray


@cache
def _frame_constants(l_max: int, m_max: int) -> _FrameConstants:
    degrees = Degrees(0, l_max)
    to_x, to_z, about_y = (constant_d(l_max, r) for r in (X_POLAR, Z_POLAR, ABOUT_Y))
    parts, orders = [], []
    for parity in (0, 1):
        pairs = [
            (degree, m)
            for m in range(l_max + 1)
            for degree in range(m, l_max + 1)
            if (degree - m) % 2 == parity
        ]
        cosines = [degrees.index(degree, m) for degree, m in pairs]
        sines = [degrees.index(degree, -m) for degree, m in pairs if m]
        parts.append(np.array(cosines + sines, int))
        orders.append(np.array([m for _, m in pairs if m], int))
    even, odd = parts
    cosine, sine = order_indices(l_max, l_max)
    kept_cosine, kept_sine = order_indices(l_max, m_max)
    axial = np.concatenate(parts)
    x_to_z = to_z @ to_x.T
    return _FrameConstants(
        np.concatenate([to_x[axial], (to_x @ about_y)[axial]]),
        x_to_z[np.ix_(cosine, even)],
        x_to_z[np.ix_(sine, odd)],
        to_z.T[np.ix_(kept_cosine, cosine)],
        to_z.T[np.ix_(kept_sine, sine)],
        orders[0],
        orders[1],
        -degrees.orders[sine],
    )


def constant_d(l_max: int, rotation: np.ndarray) -> np.ndarray:
    """Block-diagonal Wigner matrix of a constant rotation, from Y(R r) = D Y(r) at many points."""
    points = np.random.default_rng(0).normal(size=(8 * (l_max + 1) ** 2, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    degrees = Degrees(0, l_max)
    before = solid_harmonics(points, l_max)
    after = solid_harmonics(points @ rotation.T, l_max)
    matrix = np.zeros((degrees.size, degrees.size))
    for degree in degrees:
        block = degrees.slice(degree)
        solution = np.linalg.lstsq(before[:, block], after[:, block])[0]
        matrix[block, block] = solution.T
    return matrix
