"""Densities of the neighbors around each atom, by species: sums over edges before any channel.

A filter that is linear in R radial functions, f_e = b_e W, and a factor z that depends on the
species of the two atoms alone give

    Σ_e y_e ⊗ (b_e W) ∘ z(s_i, s_j) = Σ_s (D_is W) ∘ z(s_i, s),   D_is = Σ_{e: s_j = s} y_e ⊗ b_e

so the F channels are touched once an atom and species, not once an edge. It pays while there are
fewer species than neighbors times channels over radial functions.

Where kernels sum, the derivatives of Φ(y, b, T) = Σ D(y, b) · T are two functions closed under
differentiation: D itself, and the gradient G(y, b, T) = (∂Φ/∂y, ∂Φ/∂b), one row a pair. With
cotangents (υ, β) of it, ∂/∂(y, b) is G(υ, β, T), and ∂/∂T is D(υ, b) + D(y, β).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, PyTree

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels import neighbor_densities as kernels
from tensornet_jax.ops.kernels.choice import choose, for_gpu
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import on_both_edges, to_slots


def neighbor_densities(
    geometry: Float[Array, "pairs components"],
    basis: Float[Array, "pairs radial"],
    species: Int[Array, " atoms"],
    num_species: int,
    edges: EdgeIndex,
    signs: tuple[int, ...],
) -> Float[Array, "atoms components species radial"]:
    """D_is = Σ_j y_ij ⊗ b_ij over the neighbors j of species s.

    Args:
        geometry: (P, d) of the pairs' first edges, e.g. components of unit vectors.
        basis: (P, R) of the pairs; 0 for padding.
        species: (N,) of the atoms.
        num_species: S.
        edges: connectivity.
        signs: 1 or −1 for each of the d components, by which it changes on the reverse edges.

    Returns:
        (N, d, S, R).
    """
    if for_gpu(geometry, basis) and basis.shape[1] <= kernels.MOST_FUNCTIONS:
        return _densities(signs, num_species, geometry, basis, species, edges)
    return _plain(signs, num_species, geometry, basis, species, edges)


def _plain(
    signs: tuple[int, ...],
    num_species: int,
    geometry: Array,
    basis: Array,
    species: Array,
    edges: EdgeIndex,
) -> Float[Array, "atoms components species radial"]:
    num_atoms, width = species.shape[0], geometry.shape[1]
    neighbors = species[edges.senders[edges.slots]]
    of_species = neighbors[:, :, None] == jnp.arange(num_species, dtype=species.dtype)
    around = to_slots(on_both_edges(geometry, np.array(signs)), edges)[..., None]
    sorted_out = jnp.where(of_species[:, :, None, :], around, 0)
    # One matrix product an atom: (K, d S)ᵀ (K, R).
    densities = jnp.einsum(
        "nka,nkr->nar",
        sorted_out.reshape(num_atoms, -1, width * num_species),
        to_slots(on_both_edges(basis), edges),
        precision=lax.Precision.HIGHEST,
    )
    return densities.reshape(num_atoms, width, num_species, -1)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _densities(
    signs: tuple[int, ...],
    num_species: int,
    geometry: Array,
    basis: Array,
    species: Array,
    edges: EdgeIndex,
) -> Float[Array, "atoms components species radial"]:
    kernel = partial(kernels.densities, signs=signs, num_species=num_species)
    plain = partial(_plain, signs, num_species)
    return choose(kernel, plain, geometry, basis, species, edges, fits=True)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pair_gradients(
    signs: tuple[int, ...],
    geometry: Array,
    basis: Array,
    weights: Float[Array, "atoms components species radial"],
    species: Array,
    edges: EdgeIndex,
) -> tuple[Array, Array]:
    def plain(
        geometry: Array, basis: Array, weights: Array, species: Array, edges: EdgeIndex
    ) -> tuple[Array, Array]:
        sums = partial(_plain, signs, weights.shape[2], species=species, edges=edges)
        return jax.vjp(sums, geometry, basis)[1](weights)

    kernel = partial(kernels.pair_gradients, signs=signs)
    return choose(kernel, plain, geometry, basis, weights, species, edges, fits=True)


def _densities_backward(signs, num_species, inputs, cotangent):
    geometry, basis, species, edges = inputs
    found: PyTree = _pair_gradients(signs, geometry, basis, cotangent, species, edges)
    return (*found, None, None)


def _gradients_backward(signs, inputs, cotangents):
    geometry, basis, weights, species, edges = inputs
    of_geometry, of_basis = cotangents
    sums = partial(_densities, signs, weights.shape[2], species=species, edges=edges)
    found: PyTree = _pair_gradients(signs, of_geometry, of_basis, weights, species, edges)
    return (
        *found,
        sums(of_geometry, basis) + sums(geometry, of_basis),
        None,
        None,
    )


_densities.defvjp(keeping_inputs(_densities, 2), _densities_backward)
_pair_gradients.defvjp(keeping_inputs(_pair_gradients, 1), _gradients_backward)
