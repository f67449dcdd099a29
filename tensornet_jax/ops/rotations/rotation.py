"""Rotations onto an edge and Wigner matrices of real harmonics, smooth for every direction.

Y(R r) = D(R) Y(r), in e3nn's order: degree 1 is R itself. Euler angles have no derivative on the
polar axis, and a frame that turns an edge onto an axis cannot be smooth for all edges. The frame is
however free up to a roll about the edge. Two charts that differ by a roll are therefore as good as
one, each is used only far from its own singularity, and nothing is ever divided by zero.

`wigner_matrices` gives the matrices of any rotations, from a closed form that costs one small
product of matrices a degree. To turn features of many channels into the frames of edges,
`edge_frames` makes no matrix and is the faster.
"""

from functools import cache
from math import factorial, sqrt

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.linear import transform_first


def aligning_rotation(vectors: Float[ArrayLike, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Rotations R with R r̂ = ŷ, the polar axis.

    One of the two charts by whether the vector is nearer to the axis x or z: R and all its
    derivatives are smooth within a chart, and between them only the roll about the vector jumps.

    Args:
        vectors: (..., 3) any unit. A vector whose squared length is below the smallest normal
            number of its type (length 1e-19 in float32, 1e-154 in float64) counts as zero.

    Returns:
        (..., 3, 3); the identity, with zero derivative, for a zero vector.
    """
    turned, x, y, z, radius = in_chart(vectors)
    rows = (
        (radius, -x * y / radius, -x * z / radius),
        (x, y, z),
        (jnp.zeros_like(x), -z / radius, y / radius),
    )
    rotation = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    by_a_quarter = jnp.stack([rotation[..., 2], rotation[..., 1], -rotation[..., 0]], axis=-1)
    return jnp.where(turned[..., None, None], by_a_quarter, rotation)


def wigner_d(
    degree: int, rotation: Float[ArrayLike, "*batch 3 3"]
) -> Float[Array, "*batch orders orders"]:
    """The Wigner matrices of one degree, see `wigner_matrices`.

    Args:
        degree: l, at least 0.
        rotation: (..., 3, 3) orthogonal.

    Returns:
        (..., 2l + 1, 2l + 1).

    Raises:
        ValueError: the degree is negative, or the rotation not (..., 3, 3).
    """
    return _matrices(rotation, Degrees(degree, degree))[0]


def wigner_matrices(
    rotation: Float[ArrayLike, "*batch 3 3"], l_max: int
) -> tuple[Float[Array, "*batch _ _"], ...]:
    """Wigner matrices D of all degrees: Y(R r) = D(R) Y(r), and D of degree 1 is R.

    Wigner's d is a polynomial in cos β = y once powers of sin β and tan β/2 are taken out, and
    these join the azimuth in powers of z + ix and (z + ix)/(1 + y), where (x, y, z) is the
    direction that R sends to +y. All are bounded by 1 on the hemisphere y ≥ 0; the other one is
    turned onto it by 180° about x. The derivatives are right along the rotation group, so for any
    parametrization of rotations; off the group they mean nothing.

    Args:
        rotation: (..., 3, 3) orthogonal. With determinant −1, D is that of natural parity (−1)^l.
        l_max: highest degree, at least 0.

    Returns:
        D^0 … D^l_max, each (..., 2l + 1, 2l + 1).

    Raises:
        ValueError: l_max is negative, or the rotation not (..., 3, 3).
    """
    return _matrices(rotation, Degrees(0, l_max))


def rotate(
    features: Float[Array, "... components"],
    matrices: tuple[Float[Array, "... _ _"], ...],
    *,
    inverse: bool = False,
) -> Float[Array, "... components"]:
    """Features of degrees 0 to l_max, rotated by the matrices of `wigner_matrices`.

    Args:
        features: (..., (l_max + 1)²).
        matrices: D^0 … D^l_max; their leading axes broadcast against those of the features, so
            matrices of rotations (edges, 1, 3, 3) serve features (edges, channels, size).
        inverse: apply the inverse rotation, Dᵀ.

    Returns:
        (..., (l_max + 1)²).

    Raises:
        ValueError: the last axis does not fit the number of matrices.
    """
    degrees = Degrees(0, len(matrices) - 1)
    if features.shape[-1] != degrees.size:
        raise ValueError(
            f"features {features.shape} must end in {degrees.size} for {len(matrices)} matrices"
        )
    subscripts = "...ba,...b->...a" if inverse else "...ab,...b->...a"
    rotated = [
        jnp.einsum(
            subscripts,
            matrix,
            features[..., degrees.slice(degree)],
            precision=lax.Precision.HIGHEST,
        )
        for degree, matrix in zip(degrees, matrices, strict=True)
    ]
    return jnp.concatenate(rotated, axis=-1)


def in_chart(
    vectors: Float[ArrayLike, "*batch 3"],
) -> tuple[
    Bool[Array, "*batch"],
    Float[Array, "*batch"],
    Float[Array, "*batch"],
    Float[Array, "*batch"],
    Float[Array, "*batch"],
]:
    """Whether to turn by 90° about y, the unit vector after it, and its distance from x, ≥ √½."""
    unit = _normalized(vectors)
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    turned = jnp.abs(x) > jnp.abs(z)
    x, z = jnp.where(turned, -z, x), jnp.where(turned, x, z)
    return turned, x, y, z, jnp.sqrt(y * y + z * z)


def _normalized(vectors: ArrayLike) -> Array:
    vectors = 1.0 * jnp.asarray(vectors)
    squared = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    is_zero = squared < jnp.finfo(vectors.dtype).tiny
    length = jnp.sqrt(jnp.where(is_zero, 1, squared))
    return jnp.where(is_zero, jnp.array([0, 1, 0], vectors.dtype), vectors / length)


def angle_multiples(
    cosine: Float[Array, "*batch"], sine: Float[Array, "*batch"], highest: int
) -> tuple[Float[Array, "multiples ..."], Float[Array, "multiples ..."]]:
    """Real and imaginary parts of (cosine + i sine)^k, k = 0 … highest, each (highest + 1, ...)."""
    real, imaginary = [jnp.ones_like(cosine)], [jnp.zeros_like(cosine)]
    for _ in range(highest):
        a, b = real[-1], imaginary[-1]
        real.append(a * cosine - b * sine)
        imaginary.append(a * sine + b * cosine)
    return lax.optimization_barrier((jnp.stack(real), jnp.stack(imaginary)))


def _matrices(rotation: ArrayLike, degrees: Degrees) -> tuple[Array, ...]:
    """D^l[a, b], a sum of two products of a polynomial in y and a power of z + ix, rolled."""
    rotation = 1.0 * jnp.asarray(rotation)
    if rotation.shape[-2:] != (3, 3):
        raise ValueError(f"the last axes of rotation {rotation.shape} must be (3, 3)")
    if degrees.first < 0 or degrees.last < degrees.first:
        raise ValueError(f"degree {degrees.last} must not be negative")
    l_max, leading = degrees.last, rotation.shape[:-2]
    # The barriers keep XLA from fusing small arrays into large ones, which on a CPU computes them
    # again for every entry of every matrix.
    rows = lax.optimization_barrier(jnp.moveaxis(rotation.reshape(-1, 3, 3), 0, -1))
    determinant = jnp.where((jnp.cross(rows[0], rows[1], axis=0) * rows[2]).sum(0) < 0, -1.0, 1.0)
    determinant = determinant.astype(rows.dtype)
    rows = rows * determinant
    hemisphere = jnp.where(rows[1, 1] < 0, -1, 1).astype(rows.dtype)
    rows, hemisphere, determinant = lax.optimization_barrier((rows, hemisphere, determinant))
    x, y, z = rows[1, 0], hemisphere * rows[1, 1], hemisphere * rows[1, 2]
    # The roll: how far the first row is from that of the shortest rotation onto the axis.
    u, v, w = rows[0, 0], hemisphere * rows[0, 1], hemisphere * rows[0, 2]
    shared = (u * x + w * z) / (1 + y)
    cosine, sine = angle_multiples(u - x * shared - x * v, z * shared + z * v - w, l_max)
    order = np.arange(-l_max, l_max + 1)
    choice = (abs(order)[:, None] == np.arange(l_max + 1)).astype(float)
    cosine, sine = (
        transform_first(choice, cosine),
        transform_first(np.sign(order)[:, None] * choice, sine),
    )
    backward = jnp.where(order[:, None] < 0, hemisphere, 1)
    azimuths = []
    for azimuth in _azimuths(
        angle_multiples(z, x, l_max), angle_multiples(z / (1 + y), x / (1 + y), l_max)
    ):
        azimuth = azimuth * backward
        rolled = cosine[:, None] * azimuth + sine[:, None] * azimuth[::-1]
        azimuths.append(lax.optimization_barrier(rolled))
    chebyshev = _multiples_of_cosine(y, l_max)
    matrices = []
    for degree in degrees:
        within = slice(l_max - degree, l_max + degree + 1)
        functions = chebyshev[: degree + 1]
        if degree % 2:
            functions = functions * (determinant * hemisphere)
        size = 2 * degree + 1
        matrix = sum(
            transform_first(polynomial, functions).reshape(size, size, -1) * azimuth[within, within]
            for polynomial, azimuth in zip(_polynomials(degree), azimuths, strict=True)
        )
        matrices.append(jnp.moveaxis(jnp.asarray(matrix), -1, 0).reshape(*leading, size, size))
    return tuple(matrices)


def _multiples_of_cosine(y: Array, highest: int) -> Array:
    """Chebyshev polynomials T_0 … T_highest, (highest + 1, ...)."""
    values = [jnp.ones_like(y), y]
    for _ in range(highest - 1):
        values.append(2 * y * values[-1] - values[-2])
    return lax.optimization_barrier(jnp.stack(values[: highest + 1]))


def _azimuths(sines: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """What Wigner's d_{|a| |b|} and d_{|a| −|b|} lack of the entries (a, b), whatever the degree.

    With q = z + ix and τ = q / (1 + y), ± the real or imaginary parts of q^| |a| − |b| |, and of
    q^max(|a|, |b|) τ^min(|a|, |b|). From the powers 0 … l_max of q and of τ; each
    (2 l_max + 1, 2 l_max + 1, ...).
    """
    l_max = len(sines[0]) - 1
    tables = _azimuth_tables(l_max)
    size = 2 * l_max + 1

    def pick(table: np.ndarray, powers: tuple[Array, Array]) -> Array:
        return transform_first(table, jnp.concatenate(powers)).reshape(
            size, size, *powers[0].shape[1:]
        )

    difference, of_real, of_imaginary, real, imaginary = tables
    total = pick(of_real, sines) * pick(real, tangents)
    total = total + pick(of_imaginary, sines) * pick(imaginary, tangents)
    return pick(difference, sines), total


@cache
def _azimuth_tables(l_max: int) -> tuple[np.ndarray, ...]:
    """Constant matrices that choose, with signs, among the real and then imaginary parts.

    Each ((2 l_max + 1)², 2 (l_max + 1)): for q^| |a| − |b| |; what multiplies Re τ^min and Im τ^min
    of q^max; and these two themselves.
    """
    size = 2 * l_max + 1
    tables = np.zeros((5, size, size, 2, l_max + 1))
    difference, of_real, of_imaginary, real, imaginary = tables
    for a in range(-l_max, l_max + 1):
        for b in range(-l_max, l_max + 1):
            entry, change = (l_max + a, l_max + b), abs(a) - abs(b)
            large, small = max(abs(a), abs(b)), min(abs(a), abs(b))
            if (a < 0) == (b < 0):
                sign = -1 if a < 0 else 1
                difference[(*entry, 0, abs(change))] = 1
                of_real[(*entry, 0, large)] = sign
                of_imaginary[(*entry, 1, large)] = -sign
            else:
                sign = 1 if a < 0 else -1
                difference[(*entry, 1, abs(change))] = sign * np.sign(change)
                of_real[(*entry, 1, large)] = 1
                of_imaginary[(*entry, 0, large)] = 1
            real[(*entry, 0, small)] = 1
            imaginary[(*entry, 1, small)] = 1
    return tuple(tables.reshape(5, size**2, -1))


@cache
def _polynomials(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev coefficients of what multiplies the two of `_azimuths` in the entries (a, b).

    Each ((2l + 1)², l + 1).
    """
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = np.zeros((2, degree + 1, degree + 1, degree + 1))
    for a in range(degree + 1):
        for b in range(degree + 1):
            scale = sqrt(2) if (a == 0) != (b == 0) else 1
            values[0, a, b] = scale * _reduced_d(degree, a, b, abs(a - b), nodes)
            if a and b:
                values[1, a, b] = (-1) ** b * _reduced_d(degree, a, -b, max(a, b), nodes)
    vandermonde = np.polynomial.chebyshev.chebvander(nodes, degree)
    coefficients = values @ np.linalg.inv(vandermonde).T
    order = np.abs(np.arange(-degree, degree + 1))
    difference, total = coefficients[:, order][:, :, order].reshape(2, -1, degree + 1)
    return difference, total


def _reduced_d(degree: int, a: int, b: int, power: int, cosine: np.ndarray) -> np.ndarray:
    """Wigner's d^l_ab(β) over tan(β/2)^|a − b| (1 + cos β)^power, a polynomial in cos β."""
    total = np.zeros_like(cosine)
    product = 1
    for number in (degree + a, degree - a, degree + b, degree - b):
        product *= factorial(number)
    for s in range(max(0, b - a), min(degree + b, degree - a) + 1):
        divisor = factorial(degree + b - s) * factorial(s)
        divisor *= factorial(a - b + s) * factorial(degree - a - s)
        sines = (a - b + 2 * s - abs(a - b)) // 2
        cosines = degree - sines - power
        term = ((1 + cosine) / 2) ** cosines * ((1 - cosine) / 2) ** sines / 2**power
        total += (-1) ** (a - b + s) * sqrt(product) / divisor * term
    return total
