"""Smooth particle-mesh Ewald: the reciprocal part of Ewald's sum in O(N log N).

Charges are spread on a mesh by cardinal B-splines, the potential is a product in Fourier space, and
the same splines read it off at the atoms. The energy is a smooth function of positions and cell,
whose derivatives of any kind JAX takes: forces and stress belong to this energy exactly, as in
Essmann et al., J. Chem. Phys. 103, 8577 (1995), Eqs. 4.1 to 4.8. The sum over forces is zero only
as far as the mesh resolves the charges.
"""

import math
from functools import cache, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from tensornet_jax.ops.interactions.ewald import reciprocal_lattice
from tensornet_jax.ops.interactions.reciprocal_space import ORDER, MeshShape


def mesh_potentials(
    charges: Float[Array, "atoms channels"],
    positions: Float[Array, "atoms 3"],
    cell: Float[Array, "structures 3 3"],
    node_graph: Int[Array, " atoms"],
    periodic: Bool[Array, " structures"],
    shape: MeshShape,
    splitting: float,
) -> Float[Array, "atoms channels"]:
    """The smooth share of the potential, as `ewald.reciprocal_potentials`, by a mesh.

    Args:
        charges: (N, C) e; each channel is a set of charges of its own.
        positions: (N, 3) Å.
        cell: (B, 3, 3) Å.
        node_graph: (N,) structure of each atom.
        periodic: (B,) bool; the potential is 0 in the others.
        shape: points along each lattice vector, the same in all structures.
        splitting: α, Å⁻¹.

    Returns:
        (N, C) e/Å.
    """
    inverse, volume = reciprocal_lattice(cell, periodic)
    fractions = jnp.einsum(
        "na,nac->nc", positions, inverse[node_graph], precision=jax.lax.Precision.HIGHEST
    )
    points, weights = _spread(fractions, shape)
    graphs, channels, size = cell.shape[0], charges.shape[1], math.prod(shape)
    charges = jnp.where(periodic[node_graph, None], charges, 0)
    places = node_graph[:, None] * size + points
    mesh = jnp.zeros((graphs * size, channels), positions.dtype)
    mesh = mesh.at[places].add(weights[:, :, None] * charges[:, None])
    mesh = jnp.fft.rfftn(mesh.reshape(graphs, *shape, channels), axes=(1, 2, 3))
    influence = _influence(inverse, volume, shape, splitting)
    mesh = jnp.fft.irfftn(mesh * influence[..., None], s=shape, axes=(1, 2, 3))
    potentials = mesh.reshape(-1, channels)[places]
    potentials = jnp.sum(weights[:, :, None] * potentials, axis=1)
    return jnp.where(periodic[node_graph, None], potentials, 0)


def _spread(fractions: Array, shape: MeshShape) -> tuple[Array, Array]:
    """Points of the mesh (N, ORDER³) near each atom, and the splines there, (N, ORDER³)."""
    places, splines = [], []
    for direction, size in enumerate(shape):
        scaled = fractions[:, direction] * size
        below = jnp.floor(scaled)
        splines.append(_cardinal_splines(scaled - below))
        steps = below.astype(jnp.int32)[:, None] - jnp.arange(ORDER, dtype=jnp.int32)
        places.append(steps % size)
    (a, b, c), (_, second, third) = places, shape
    points = (a[:, :, None, None] * second + b[:, None, :, None]) * third + c[:, None, None, :]
    x, y, z = splines
    weights = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    return points.reshape(len(fractions), -1), weights.reshape(len(fractions), -1)


def _cardinal_splines(offset: Array) -> Array:
    """M_p(w), M_p(w + 1), …, M_p(w + p − 1) of order p for w in [0, 1): (N,) → (N, p)."""
    values = [jnp.ones_like(offset)]
    for order in range(2, ORDER + 1):
        # M_n(u) = (u M_{n−1}(u) + (n − u) M_{n−1}(u − 1)) / (n − 1).
        before = [jnp.zeros_like(offset), *values, jnp.zeros_like(offset)]
        values = [
            ((offset + j) * before[j + 1] + (order - offset - j) * before[j]) / (order - 1)
            for j in range(order)
        ]
    return jnp.stack(values, axis=-1)


def _influence(inverse: Array, volume: Array, shape: MeshShape, splitting: float) -> Array:
    """What multiplies the transformed charges: (B, *shape of the half-complex transform), e/Å.

    (4π/V) exp(−k²/4α²)/k² times the correction for spreading and reading by splines, and times the
    number of points, which the inverse transform divides by.
    """
    dtype = inverse.dtype
    integers = [np.fft.fftfreq(size, 1 / size) for size in shape[:2]]
    integers.append(np.fft.rfftfreq(shape[2], 1 / shape[2]))
    n = np.stack(np.meshgrid(*integers, indexing="ij"), axis=-1)
    k = jnp.einsum(
        "xyzd,bcd->bxyzc",
        jnp.asarray(2 * np.pi * n, dtype),
        inverse,
        precision=jax.lax.Precision.HIGHEST,
    )
    real = jnp.asarray(n.any(axis=-1))
    square = jnp.where(real, jnp.sum(k**2, axis=-1), 1)
    gaussian = jnp.exp(-square / (4 * splitting**2)) / square
    correction = jnp.asarray(math.prod(shape) * _correction(shape), dtype)
    scale = 4 * jnp.pi / volume[:, None, None, None]
    return jnp.where(real, scale * gaussian * correction, 0)


@cache
def _correction(shape: MeshShape) -> np.ndarray:
    """|b₁ b₂ b₃|² of Eq. 4.4, over the half-complex transform."""
    # M_p at the integers 1 … p − 1.
    knots = np.asarray(reduce(_raised, range(2, ORDER + 1), np.ones(1)))
    factors = []
    for size in shape:
        phases = 2j * np.pi * np.outer(np.arange(size), np.arange(ORDER - 1)) / size
        factors.append(1 / abs(np.exp(phases) @ knots[1:]) ** 2)
    a, b, c = factors
    return a[:, None, None] * b[None, :, None] * c[None, None, : shape[2] // 2 + 1]


def _raised(values: np.ndarray, order: int) -> np.ndarray:
    """M_order at 0, 1, …, from M of one order less."""
    below = np.concatenate([[0.0], values]), np.concatenate([values, [0.0]])
    j = np.arange(order)
    return (j * below[1] + (order - j) * below[0]) / (order - 1)
