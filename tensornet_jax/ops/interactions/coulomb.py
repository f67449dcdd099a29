"""Coulomb energies of point charges: kernels of the distance, and their sum over pairs."""

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import convolve
from tensornet_jax.ops.segments import sum_of_segments


def reaction_field(
    distances: Float[Array, "*shape"], cutoff: float, dielectric: float = math.inf
) -> Float[Array, "*shape"]:
    """1/d in a sphere that a dielectric surrounds: 1/d + k d² − c, 0 from the cutoff on.

    k = (ε − 1)/((2ε + 1) r³) and c = 3ε/((2ε + 1) r) for a cutoff r (Tironi et al., J. Chem. Phys.
    102, 5451 (1995), shifted to end at 0). The force ends at 0 for a conductor, ε = ∞, alone; else
    a step of 3/((2ε + 1) r²) is left.

    Args:
        distances: (...) Å, not 0.
        cutoff: r, Å.
        dielectric: ε relative to the vacuum.

    Returns:
        (...) Å⁻¹.
    """
    # In 1/ε, which is 0 for a conductor.
    inverse = 1 / dielectric
    k = (1 - inverse) / ((2 + inverse) * cutoff**3)
    c = 3 / ((2 + inverse) * cutoff)
    return jnp.where(distances < cutoff, 1 / distances + k * distances**2 - c, 0)


def overlap_damping(distances: Float[Array, "*shape"], radius: float) -> Float[Array, "*shape"]:
    """1 − exp(1 − 1/(1 − (d/r)²)): from 0 at distance 0, as d², to exactly 1 from the radius on.

    All derivatives are continuous. It leaves near neighbors to the network (AIMNet2,
    doi:10.1039/D4SC08572H).

    Args:
        distances: (...) Å.
        radius: r, Å.
    """
    inside = distances < radius
    square = jnp.where(inside, (distances / radius) ** 2, 0)
    return jnp.where(inside, -jnp.expm1(-square / (1 - square)), 1)


def cosine_switch(
    distances: Float[Array, "*shape"], lower: float, upper: float
) -> Float[Array, "*shape"]:
    """½ − ½ cos(π(d − lower)/(upper − lower)): 0 below `lower` and 1 above `upper`, both in Å."""
    phase = jnp.clip((distances - lower) / (upper - lower), 0, 1)
    return 0.5 - 0.5 * jnp.cos(jnp.pi * phase)


def equilibrated(
    charges: Float[Array, "atoms channels"],
    softness: Float[Array, "atoms channels"],
    total: Float[Array, " structures"],
    node_graph: Int[Array, " atoms"],
) -> Float[Array, "atoms channels"]:
    """Charges shifted, more where an atom is softer, so that they sum to the total charge.

    q = c + u/(Σ u + ε)·(Q − Σ c) with ε = 10⁻⁶, sums over the structure (neutral charge
    equilibration, Eq. 5, doi:10.1039/D4SC08572H).

    Args:
        charges: (N, C) c, e; 0 for padding.
        softness: (N, C) u, not negative; 0 for padding.
        total: (B,) total charges Q of the structures, e.
        node_graph: (N,) structure of each atom.

    Returns:
        (N, C) e, 0 for padding.
    """
    both = jnp.concatenate([charges, softness], axis=-1)
    sums = sum_of_segments(both, node_graph, total.shape[0])
    sum_of_charges, sum_of_softness = jnp.split(sums, 2, axis=-1)
    missing = (total[:, None] - sum_of_charges) / (sum_of_softness + 1e-6)
    return charges + softness * missing[node_graph]


def electrostatic_energies(
    charges: Float[Array, "atoms channels"], kernel: Float[Array, " pairs"], edges: EdgeIndex
) -> Float[Array, "atoms channels"]:
    """½ q_i Σ_j φ_ij q_j: half the energy of each pair to either atom, channel by channel.

    Args:
        charges: (N, C) e; each channel is a set of charges of its own.
        kernel: (P,) φ of each pair, symmetric in the two atoms; must be 0 for padding pairs.
        edges: connectivity.

    Returns:
        (N, C) in e² times the unit of the kernel.
    """
    # As a convolution with channels in the place of tensor components, which all share one filter.
    (potentials,) = convolve((kernel[:, None, None],), (charges[:, :, None],), edges)
    return 0.5 * charges * potentials[:, :, 0]
