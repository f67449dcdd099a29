"""The Gaunt product with the spherical harmonics of an edge, in the frame of that edge."""

from dataclasses import dataclass
from functools import cache
from math import pi

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees, Normalization
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.rotations.edge_frames import ByOrder, EdgeFrames, order_indices
from tensornet_jax.ops.tensor_products.gaunt_fourier import GauntFourier


@dataclass(frozen=True)
class GauntConvolution:
    """Multiply the signal of an atom by a filter about an edge (Section 3.3, arXiv:2401.10216).

    The filter Σ_l w_l Σ_m Y_lm(r̂) Y_lm, seen from the edge's own frame, is a function of the polar
    angle β alone: of its components only m = 0 remain. There it multiplies each order m of x by
    itself on a few Gauss–Legendre nodes in cos β, O(L³), and no azimuth is sampled at all. Turning
    into the frame and back is O(L³) too, and takes most of the time: on CPUs `GauntGrid` with the
    edge's harmonics is the faster to L = 6.

    Equal to product(x, solid_harmonics(r̂, l2_max, normalization), weights) with the Gaunt product
    of the same degrees and normalization, whose weights of x and z are one. Equivariant under
    inversion; derivatives with respect to the edge are right for every direction.

    Attributes:
        l1_max, l2_max, l3_max: highest degrees of x, the filter and z.
        normalization: of the product and of the filter's harmonics, see `TensorProduct`.

    Raises:
        ValueError: what `TensorProduct` refuses.
    """

    l1_max: int
    l2_max: int
    l3_max: int
    normalization: Normalization = "integral"

    def __post_init__(self) -> None:
        _ = self.product

    @property
    def product(self) -> GauntFourier:
        """The product of two general signals, of which this is the special case."""
        return GauntFourier(self.l1_max, self.l2_max, self.l3_max, self.normalization)

    @property
    def num_weights(self) -> int:
        """One weight a degree of the filter."""
        return self.l2_max + 1

    def __call__(
        self,
        x: Float[Array, "... components_x"],
        frames: EdgeFrames,
        weights: Float[Array, "... num_weights"] | None = None,
    ) -> Float[Array, "... components_z"]:
        """Convolve.

        Args:
            x: (..., (l1_max + 1)²) features in e3nn's order.
            frames: `edge_frames(vectors, l_max)` with l_max at least l1_max and l3_max.
                Their axes broadcast against those of x but the last: vectors (edges, 1, 3) for
                features (edges, channels, size).
            weights: (..., num_weights) of the filter's degrees, leading axes broadcast too; None
                for ones.

        Returns:
            (..., (l3_max + 1)²).

        Raises:
            ValueError: a last axis has the wrong size, or the frames' l_max is too small.
        """
        self._check("x", x, (self.l1_max + 1) ** 2)
        dtype = jnp.result_type(x, float)
        if weights is None:
            weights = jnp.ones(self.num_weights, dtype)
        self._check("weights", weights, self.num_weights)
        m_max = min(self.l1_max, self.l3_max)
        tables = _polar_tables(self)
        aligned = frames.align(x.astype(dtype), m_max)
        filters = jnp.einsum(
            "jl,...l->j...", tables.filters.astype(dtype), weights, precision=lax.Precision.HIGHEST
        )
        z = [
            _multiply(part, filters, jnp.asarray(enter, dtype), jnp.asarray(leave, dtype))
            for part, enter, leave in zip(aligned, tables.enter, tables.leave, strict=True)
        ]
        return frames.restore(ByOrder(*z), self.l3_max, m_max)

    def _check(self, name: str, array: Array, size: int) -> None:
        if array.ndim == 0 or array.shape[-1] != size:
            raise ValueError(f"the last axis of {name} {array.shape} must be {size} for {self}")


def _multiply(part: Array, filters: Array, enter: Array, leave: Array) -> Array:
    """Components (size, ...) to nodes (orders, nodes, ...), times the filter, and back."""
    values = jnp.einsum("mjk,k...->mj...", enter, part, precision=lax.Precision.HIGHEST)
    rank = max(values.ndim - 1, filters.ndim)
    values = values.reshape(*values.shape[:2], *(1,) * (rank + 1 - values.ndim), *values.shape[2:])
    filters = filters.reshape(filters.shape[0], *(1,) * (rank - filters.ndim), *filters.shape[1:])
    return jnp.einsum("mjk,mj...->k...", leave, values * filters, precision=lax.Precision.HIGHEST)


@dataclass(frozen=True, eq=False)
class _PolarTables:
    """Values on the nodes of cos β, components ordered as in `ByOrder`.

    Attributes:
        filters: (nodes, l2_max + 1) the filter's degrees.
        enter: of x, for cosines and sines, (orders, nodes, components).
        leave: of z times the weights of the nodes, the same shapes.
    """

    filters: np.ndarray
    enter: tuple[np.ndarray, np.ndarray]
    leave: tuple[np.ndarray, np.ndarray]


@cache
def _polar_tables(convolution: GauntConvolution) -> _PolarTables:
    first, second, third = convolution.product.degrees
    of_x, of_y, of_z = convolution.product.normalization_factors()
    cosines, weights = np.polynomial.legendre.leggauss(
        (first.last + second.last + third.last) // 2 + 1
    )
    nodes = np.stack([0 * cosines, cosines, np.sqrt(1 - cosines**2)], axis=-1)
    axis = solid_harmonics(np.array([0.0, 1.0, 0.0]), second.last, convolution.normalization)
    zonal = np.array([second.index(degree, 0) for degree in second])
    filters = (solid_harmonics(nodes, second.last) * axis * of_y)[:, zonal]
    m_max = min(first.last, third.last)
    enter = _by_order(solid_harmonics(nodes, first.last) * of_x, first, m_max)
    leave = _by_order(solid_harmonics(nodes, third.last) * of_z, third, m_max)
    azimuthal = np.where(np.arange(m_max + 1) == 0, 2 * pi, pi)
    measure = azimuthal[:, None, None] * weights[:, None]
    return _PolarTables(filters, enter, (leave[0] * measure, leave[1] * measure[1:]))


def _by_order(values: np.ndarray, degrees: Degrees, m_max: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (nodes, size) of Y at α = 0 as (orders, nodes, components), block-diagonal in m."""
    cosine, _ = order_indices(degrees.last, m_max)
    orders = degrees.orders[cosine]
    blocks = np.where(np.arange(m_max + 1)[:, None, None] == orders, values[:, cosine], 0.0)
    return blocks, blocks[1:, :, orders > 0]
