"""Densities of the neighbors around each atom, by species: sums over edges before any channel.

A filter that is linear in R radial functions, f_e = b_e W, and a factor z that depends on the
species of the two atoms alone give

    Σ_e y_e ⊗ (b_e W) ∘ z(s_i, s_j) = Σ_s (D_is W) ∘ z(s_i, s),   D_is = Σ_{e: s_j = s} y_e ⊗ b_e

so the F channels are touched once an atom and species, not once an edge. It pays while there are
fewer species than neighbors times channels over radial functions.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import on_both_edges, to_slots


def neighbor_densities(
    geometry: Float[Array, "edges components"],
    basis: Float[Array, "pairs radial"],
    species: Int[Array, " atoms"],
    num_species: int,
    edges: EdgeIndex,
) -> Float[Array, "atoms components species radial"]:
    """D_is = Σ_j y_ij ⊗ b_ij over the neighbors j of species s.

    Args:
        geometry: (E, d) of the edges, e.g. components of unit vectors.
        basis: (P, R) of the pairs; 0 for padding.
        species: (N,) of the atoms.
        num_species: S.
        edges: connectivity.

    Returns:
        (N, d, S, R).
    """
    num_atoms, width = species.shape[0], geometry.shape[1]
    neighbors = species[edges.senders[edges.slots]]
    of_species = neighbors[:, :, None] == jnp.arange(num_species, dtype=species.dtype)
    around = to_slots(geometry, edges)[..., None]
    sorted_out = jnp.where(of_species[:, :, None, :], around, 0)
    # One matrix product an atom: (K, d S)ᵀ (K, R).
    densities = jnp.einsum(
        "nka,nkr->nar",
        sorted_out.reshape(num_atoms, -1, width * num_species),
        to_slots(on_both_edges(basis), edges),
        precision=lax.Precision.HIGHEST,
    )
    return densities.reshape(num_atoms, width, num_species, -1)
