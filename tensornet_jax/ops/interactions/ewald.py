"""Ewald's sum: the electrostatic potential of charges that repeat in three directions.

A unit charge at distance d is erfc(αd)/d, which ends within a cutoff and is summed over pairs, plus
the smooth rest erf(αd)/d, which is summed over reciprocal lattice vectors k. With rows a of the
cell, k = 2π n·a⁻ᵀ for integers n. The integers are chosen on the host and stay; the vectors follow
the cell, so that the stress is a derivative like any other. The sum is that of a crystal in a
conductor ("tin foil"); a total charge is neutralized by a uniform background.

Ewald, Ann. Phys. 369, 253 (1921); in the form of Sec. 12.1 of Frenkel & Smit, "Understanding
Molecular Simulation" (2002).
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import erfc
from jaxtyping import Bool, Float, Int

from tensornet_jax.ops.segments import sum_of_segments


def reciprocal_lattice(
    cell: Float[Array, "structures 3 3"], periodic: Bool[Array, " structures"]
) -> tuple[Float[Array, "structures 3 3"], Float[Array, " structures"]]:
    """Inverse lattice and volume, of a unit cube where a structure is not periodic.

    Args:
        cell: (B, 3, 3) rows are lattice vectors, Å.
        periodic: (B,) bool.

    Returns:
        (B, 3, 3) whose columns turn positions into fractions, Å⁻¹; (B,) Å³.
    """
    cell = jnp.where(periodic[:, None, None], cell, jnp.eye(3, dtype=cell.dtype))
    a, b, c = cell[:, 0], cell[:, 1], cell[:, 2]
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=-1)
    determinant = jnp.sum(a * columns[:, :, 0], axis=-1)
    return columns / determinant[:, None, None], jnp.abs(determinant)


def screened(distances: Float[Array, "*shape"], splitting: float) -> Float[Array, "*shape"]:
    """erfc(αd)/d, the share of 1/d that is summed over pairs, in Å⁻¹.

    Args:
        distances: (...) Å, not 0.
        splitting: α, Å⁻¹.
    """
    return erfc(splitting * distances) / distances


def reciprocal_potentials(
    charges: Float[Array, "atoms channels"],
    positions: Float[Array, "atoms 3"],
    cell: Float[Array, "structures 3 3"],
    node_graph: Int[Array, " atoms"],
    indices: Int[Array, "structures k_vectors 3"],
    splitting: float,
) -> Float[Array, "atoms channels"]:
    """The smooth share of the potential at each atom, summed over reciprocal lattice vectors.

    φ_i = (4π/V) Σ_k exp(−k²/4α²)/k² Re(S_k exp(−ik·r_i)) with S_k = Σ_j q_j exp(ik·r_j), over all
    k ≠ 0. It holds an atom's own smeared charge, which `constant_potentials` takes off.

    Args:
        charges: (N, C) e; each channel is a set of charges of its own.
        positions: (N, 3) Å.
        cell: (B, 3, 3) Å.
        node_graph: (N,) structure of each atom.
        indices: (B, K, 3) integers of half the k as `reciprocal_indices` makes them; (0, 0, 0) for
            padding, and for all of a structure that is not periodic.
        splitting: α, Å⁻¹.

    Returns:
        (N, C) e/Å.
    """
    dtype, (graphs, channels) = positions.dtype, (cell.shape[0], charges.shape[1])
    real = jnp.any(indices != 0, axis=-1)
    inverse, volume = reciprocal_lattice(cell, jnp.any(real, axis=-1))
    n = indices.astype(dtype)
    k = 2 * jnp.pi * _product(n, jnp.swapaxes(inverse, 1, 2))
    square = jnp.where(real, jnp.sum(k**2, axis=-1), 1)
    # Twice, for −k.
    weights = 8 * jnp.pi / volume[:, None] * jnp.exp(-square / (4 * splitting**2)) / square
    weights = jnp.where(real, weights, 0)

    # k·r in fractions of the cell, which a strain leaves as they are.
    fractions = _product(positions[:, None], inverse[node_graph])[:, 0]
    n = n[0][None] if graphs == 1 else n[node_graph]
    phases = 2 * jnp.pi * sum(fractions[:, d, None] * n[:, :, d] for d in range(3))
    waves = jnp.cos(phases), jnp.sin(phases)
    # Matrix products, whose derivatives are again: a column for each structure and channel.
    own = jax.nn.one_hot(node_graph, graphs, dtype=dtype)
    columns = (own[:, :, None] * charges[:, None]).reshape(-1, graphs * channels)
    scale = jnp.repeat(weights.T, channels, axis=1)
    found = jnp.zeros_like(columns)
    for wave in waves:
        factors = jnp.matmul(wave.T, columns, precision=jax.lax.Precision.HIGHEST)
        found += jnp.matmul(wave, scale * factors, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(own[:, :, None] * found.reshape(-1, graphs, channels), axis=1)


def constant_potentials(
    charges: Float[Array, "atoms channels"],
    cell: Float[Array, "structures 3 3"],
    node_graph: Int[Array, " atoms"],
    periodic: Bool[Array, " structures"],
    splitting: float,
) -> Float[Array, "atoms channels"]:
    """What the two sums count too much: an atom's own smeared charge, and the mean potential.

    −2α/√π q_i − π/(α²V) Σ_j q_j, the latter of the background that neutralizes a total charge.

    Args:
        charges: (N, C) e; 0 for padding.
        cell: (B, 3, 3) Å.
        node_graph: (N,) structure of each atom.
        periodic: (B,) bool; the potential is 0 in the others.
        splitting: α, Å⁻¹.

    Returns:
        (N, C) e/Å.
    """
    _, volume = reciprocal_lattice(cell, periodic)
    total = sum_of_segments(charges, node_graph, cell.shape[0])
    background = jnp.pi / splitting**2 * total / volume[:, None]
    own = 2 * splitting / math.sqrt(math.pi) * charges
    return jnp.where(periodic[node_graph, None], -own - background[node_graph], 0)


def _product(rows: Array, matrices: Array) -> Array:
    """(B, K, 3) @ (B, 3, 3) in full precision, whatever an accelerator makes of small products."""
    return jnp.einsum("bka,bac->bkc", rows, matrices, precision=jax.lax.Precision.HIGHEST)
