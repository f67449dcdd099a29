"""The SO(2) convolution of features with an edge (eSCN, arXiv:2302.03655).

With the polar axis along the edge, the edge's spherical harmonics keep only m = 0, and their tensor
product with features couples the order m only to ±m: two small matrices an order instead of all
Clebsch–Gordan paths. It is the same map: `so2_weights_from_clebsch_gordan` and
`clebsch_gordan_weights_from_so2` go from one parametrization to the other.
"""

from functools import cache
from math import sqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.harmonics.degrees import Normalization
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.rotations.edge_frames import ByOrder, EdgeFrames, order_indices
from tensornet_jax.ops.rotations.edge_layout import Orders
from tensornet_jax.ops.tensor_products.coupling import ClebschGordan
from tensornet_jax.ops.tensor_products.protocol import Parity, Path

HIGHEST = lax.Precision.HIGHEST


class SO2Weights(NamedTuple):
    """The matrices of an SO(2) convolution: for the order m, from degrees l_in ≥ m to l_out ≥ m.

    y_{+m} = W1_m x_{+m} − W2_m x_{−m} and y_{−m} = W2_m x_{+m} + W1_m x_{−m}, Eq. 5–7 of
    arXiv:2302.03655 in the basis of real harmonics.

    Parity: with features of natural parity (−1)^l, W1 keeps it, and W2 makes the opposite, for a
    mirror plane through the edge leaves the frame and changes the sign of m. With `cross` the
    convolution is therefore equivariant under rotations alone, and without it under inversion too.

    Attributes:
        same: W1_m for m = 0 … m_max, each (..., l_out_max + 1 − m, l_in_max + 1 − m); with mixed
            channels (..., C_out, C_in, l_out_max + 1 − m, l_in_max + 1 − m).
        cross: W2_m for m = 1 … m_max, of the same shapes as W1_m; None for none.
    """

    same: tuple[Float[Array, "... _ _"], ...]
    cross: tuple[Float[Array, "... _ _"], ...] | None = None


def so2_convolution(
    features: Float[Array, "... in_components"], weights: SO2Weights, *, mix_channels: bool = False
) -> Float[Array, "... out_components"]:
    """The convolution of features that already stand in the frames of their edges.

    Orders above the weights' m_max neither contribute nor come back: they are zero.

    Args:
        features: (..., (l_in_max + 1)²) in e3nn's order, polar axis y along the edge; with
            `mix_channels` (..., C_in, (l_in_max + 1)²).
        weights: their axes before the named ones broadcast against those of the features: one
            matrix for all, for each edge, or for each edge and channel.
        mix_channels: sum over input channels too.

    Returns:
        (..., (l_out_max + 1)²), with `mix_channels` (..., C_out, (l_out_max + 1)²).

    Raises:
        ValueError: weights and features do not fit.
    """
    l_in_max, l_out_max, m_max = _degrees(features, weights)
    cosine, sine = order_indices(l_in_max, m_max)
    components = jnp.moveaxis(features, -1, 0)
    aligned = convolve_by_order(
        ByOrder(components[cosine], components[sine]), weights, l_in_max, mix_channels
    )
    cosine, sine = order_indices(l_out_max, m_max)
    size = (l_out_max + 1) ** 2
    result = jnp.zeros((size, *aligned.cosine.shape[1:]), aligned.cosine.dtype)
    result = result.at[cosine].set(aligned.cosine).at[sine].set(aligned.sine)
    return jnp.moveaxis(result, 0, -1)


def edge_convolution(
    features: Float[Array, "... in_components"],
    frames: EdgeFrames,
    weights: SO2Weights,
    *,
    mix_channels: bool = False,
) -> Float[Array, "... out_components"]:
    """Turn features into the frames of their edges, convolve, and turn the result back.

    It does not depend on the roll of the frames, so its derivative with respect to the edges'
    vectors exists for every direction, and is right there.

    Args:
        features: (..., (l_in_max + 1)²) in e3nn's order; with `mix_channels`
            (..., C_in, (l_in_max + 1)²).
        frames: `edge_frames(vectors, l_max)` with l_max at least l_in_max and l_out_max;
            their axes broadcast against those of the features but the last: vectors (edges, 1, 3)
            serve features (edges, channels, size).
        weights, mix_channels: as for `so2_convolution`.

    Returns:
        (..., (l_out_max + 1)²), with `mix_channels` (..., C_out, (l_out_max + 1)²).

    Raises:
        ValueError: weights, frames and features do not fit.
    """
    l_in_max, l_out_max, m_max = _degrees(features, weights)
    aligned = convolve_by_order(frames.align(features, m_max), weights, l_in_max, mix_channels)
    return frames.restore(aligned, l_out_max, m_max)


def so2_weights_from_clebsch_gordan(
    path_weights: Float[ArrayLike, "... paths"],
    l_in_max: int,
    l_filter_max: int,
    l_out_max: int,
    *,
    normalization: Normalization = "component",
    parity: Parity = "both",
    m_max: int | None = None,
) -> SO2Weights:
    """Weights with which the convolution is the Clebsch–Gordan product with the edge's harmonics.

    With product = ClebschGordan(l_in_max, l_filter_max, l_out_max, normalization, parity) and
    Y = solid_harmonics(r̂, l_filter_max, normalization), product(x, Y, path_weights) is
    edge_convolution(x, edge_frames(r, l_max), weights). For each path w = (l1, l2, l3),
    W1_m[l3, l1] gains w N C_{m,0,m} if l1 + l2 + l3 is even, and W2_m[l3, l1] gains −w N C_{−m,0,m}
    if it is odd. N is the path's factor times Y_{l2 0} on the axis, √((2l3+1)(2l2+1)) for
    ``component``.

    Args:
        path_weights: (..., paths) in the order of l1, l2, l3, as `ClebschGordan.paths` gives them.
        l_in_max, l_filter_max, l_out_max: highest degrees of features, harmonics and output.
        normalization: of the product and of the harmonics.
        parity: of the product. ``even`` gives no cross weights.
        m_max: leave out the orders above it, an approximation; None for min(l_in_max, l_out_max).

    Raises:
        ValueError: path_weights has not one number a path, or m_max is out of range.
    """
    product = ClebschGordan(l_in_max, l_filter_max, l_out_max, normalization, parity)
    of_paths = jnp.asarray(path_weights)
    if of_paths.ndim == 0 or of_paths.shape[-1] != len(product.paths):
        raise ValueError(
            f"path_weights {of_paths.shape} must end in {len(product.paths)}, one a path of "
            f"{product}"
        )
    highest = min(l_in_max, l_out_max)
    m_max = highest if m_max is None else m_max
    if not 0 <= m_max <= highest:
        raise ValueError(f"m_max {m_max} must be from 0 to min(l_in_max, l_out_max) = {highest}")
    same, cross = _path_matrices(product)

    def combine(matrices: np.ndarray) -> Array:
        matrices = matrices.astype(of_paths.dtype)
        return jnp.einsum("...p,poi->...oi", of_paths, matrices, precision=HIGHEST)

    return SO2Weights(
        tuple(combine(matrices) for matrices in same[: m_max + 1]),
        None if parity == "even" else tuple(combine(matrices) for matrices in cross[1 : m_max + 1]),
    )


def clebsch_gordan_weights_from_so2(
    weights: SO2Weights, *, normalization: Normalization = "component"
) -> Float[Array, "... paths"]:
    """Path weights of the Clebsch–Gordan product that an SO(2) convolution is.

    The inverse of `so2_weights_from_clebsch_gordan` for l_filter_max = l_in_max + l_out_max, where
    paths and matrix elements match one to one: w = (2 l2 + 1)/N Σ_m1,m3 C_{m1,0,m3} M_{m1 m3}.
    Orders that the weights leave out count as zero.

    Args:
        weights: of features without channel mixing, leading axes as there; they may also be the
            (..., C_out, C_in, n_out, n_in) of mixed channels, which are leading axes too.
        normalization: of the product and of the harmonics.

    Returns:
        (..., paths) in the order of `ClebschGordan(l_in_max, l_in_max + l_out_max, l_out_max)`.
    """
    l_out_max, l_in_max = (size - 1 for size in weights.same[0].shape[-2:])
    product = ClebschGordan(l_in_max, l_in_max + l_out_max, l_out_max, normalization)
    same, cross = _path_matrices(product)
    terms = [(1 if m == 0 else 2, matrix, same[m]) for m, matrix in enumerate(weights.same)]
    if weights.cross is not None:
        terms += [(2, matrix, cross[m]) for m, matrix in enumerate(weights.cross, start=1)]
    total = sum(
        multiplicity
        * jnp.einsum("...oi,poi->...p", matrix, basis.astype(matrix.dtype), precision=HIGHEST)
        for multiplicity, matrix, basis in terms
    )
    factors = [(2 * path.l2 + 1) / _axis_factor(product, path) ** 2 for path in product.paths]
    total = jnp.asarray(total)
    return total * np.array(factors, total.dtype)


def _degrees(features: Array, weights: SO2Weights) -> tuple[int, int, int]:
    """l_in_max, l_out_max and m_max, after a check of all shapes."""
    l_in_max = round(sqrt(features.shape[-1])) - 1
    l_out_max = weights.same[0].shape[-2] - 1
    m_max = len(weights.same) - 1
    if (l_in_max + 1) ** 2 != features.shape[-1]:
        raise ValueError(
            f"the last axis of features {features.shape} must be (l_in_max + 1)² components"
        )
    if m_max > min(l_in_max, l_out_max):
        raise ValueError(
            f"{m_max + 1} matrices of SO2Weights.same: orders go up to min(l_in_max, l_out_max) = "
            f"{min(l_in_max, l_out_max)}"
        )
    if weights.cross is not None and len(weights.cross) != m_max:
        raise ValueError(
            f"{len(weights.cross)} matrices of SO2Weights.cross beside {m_max + 1} of same: "
            "one fewer is needed, for there is none of order 0"
        )
    for name, first, matrices in (("same", 0, weights.same), ("cross", 1, weights.cross or ())):
        for m, matrix in enumerate(matrices, start=first):
            expected = (l_out_max + 1 - m, l_in_max + 1 - m)
            if matrix.shape[-2:] != expected:
                raise ValueError(
                    f"the matrix of order {m} in SO2Weights.{name} {matrix.shape} must end in "
                    f"{expected}, the degrees from {m} to {l_out_max} and {l_in_max}"
                )
    return l_in_max, l_out_max, m_max


def convolve_by_order(
    aligned: ByOrder, weights: SO2Weights, l_in_max: int, mix_channels: bool
) -> ByOrder:
    """The convolution between `EdgeFrames.align` and `EdgeFrames.restore`.

    For several layers in one frame. One matrix product an order: [W1; W2] to the columns
    (x_{+m}, x_{−m}).

    Args:
        aligned: features (components, ...) of orders to the weights' m_max; with `mix_channels`
            (components, ..., C_in).
        weights, mix_channels: as for `so2_convolution`.
        l_in_max: highest degree of the features.
    """
    subscripts = "w...OCoi,xi...C->wxo...O" if mix_channels else "w...oi,xi...->wxo..."
    cosines, sines = [], []
    start, lone = 0, l_in_max + 1
    for m, same in enumerate(weights.same):
        stop = start + l_in_max + 1 - m
        columns, matrices = aligned.cosine[None, start:stop], same[None]
        if m:
            columns = jnp.stack([columns[0], aligned.sine[start - lone : stop - lone]])
            if weights.cross is not None:
                matrices = jnp.stack([same, weights.cross[m - 1]])
        product = jnp.einsum(subscripts, matrices, columns, precision=HIGHEST)
        if m == 0:
            cosines.append(product[0, 0])
        elif weights.cross is None:
            cosines.append(product[0, 0])
            sines.append(product[0, 1])
        else:
            cosines.append(product[0, 0] - product[1, 1])
            sines.append(product[1, 0] + product[0, 1])
        start = stop
    cosine = jnp.concatenate(cosines)
    return ByOrder(cosine, jnp.concatenate(sines) if sines else cosine[:0])


def convolve_in_layout(aligned: Orders, weights: SO2Weights) -> Orders:
    """The convolution with mixed channels of features as `EdgeLayout` has them.

    One matrix product an order, of arrays as they stand: no copy of any edge is written.

    Args:
        aligned: features of orders to the weights' m_max, with C_in channels.
        weights: (C_out, C_in, l_out_max + 1 − m, l_in_max + 1 − m), the same for all edges.
    """
    found = []
    for m, (features, same) in enumerate(zip(aligned, weights.same, strict=True)):
        c_out, c_in, n_out, n_in = same.shape
        matrix = same.transpose(3, 1, 2, 0).reshape(n_in * c_in, n_out * c_out)
        columns = features.reshape(-1, n_in * c_in)
        if m and weights.cross is not None:
            other = weights.cross[m - 1].transpose(3, 1, 2, 0).reshape(matrix.shape)
            matrix = jnp.block([[matrix, other], [-other, matrix]])
            columns = features.reshape(-1, 2 * n_in * c_in)
        product = jnp.matmul(columns, matrix, precision=HIGHEST)
        found.append(product.reshape(*features.shape[:2], n_out, c_out))
    return tuple(found)


def _axis_factor(product: ClebschGordan, path: Path) -> float:
    """The path's factor times the harmonic of degree l2 and order 0 on the polar axis."""
    axis = solid_harmonics(np.array([0.0, 1.0, 0.0]), path.l2, product.normalization)
    return product.path_factor(path) * axis[path.l2**2 + path.l2]


@cache
def _path_matrices(product: ClebschGordan) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What weight one on each path adds to W1_m and W2_m, (paths, n_out, n_in) for each m."""
    l_in_max, l_out_max = product.l1_max, product.l3_max
    same, cross = [], []
    for m in range(min(l_in_max, l_out_max) + 1):
        shape = (len(product.paths), l_out_max + 1 - m, l_in_max + 1 - m)
        parts = np.zeros((2, *shape))
        for number, path in enumerate(product.paths):
            l1, l2, l3 = path
            if m <= min(l1, l3):
                of_axis = _axis_factor(product, path) * clebsch_gordan(l1, l2, l3)[:, l2]
                parts[0, number, l3 - m, l1 - m] = of_axis[l1 + m, l3 + m]
                parts[1, number, l3 - m, l1 - m] = -of_axis[l1 - m, l3 + m] if m else 0
        same.append(parts[0])
        cross.append(parts[1])
    return same, cross
