"""Coulomb energies of charges, fixed or predicted: of all pairs, all images, or within a cutoff."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.models.physics.config import CoulombRange
from tensornet_jax.ops.interactions import ewald
from tensornet_jax.ops.interactions.coulomb import electrostatic_energies, reaction_field
from tensornet_jax.ops.interactions.pme import mesh_potentials
from tensornet_jax.ops.safe import norm
from tensornet_jax.units import COULOMB


def coulomb_energies(
    charges: Float[Array, "atoms channels"],
    graph: AtomGraph,
    among: CoulombRange,
    cutoff: float,
    left_out: Callable[[Float[Array, " pairs"]], Float[Array, " pairs"]],
) -> Float[Array, "atoms channels"]:
    """Half of the energy of each pair at either atom, channel by channel.

    A periodic structure has its own images among the pairs, and a uniform background that
    neutralizes its total charge.

    Args:
        charges: (N, C) e, 0 for padding; each channel is a set of charges of its own.
        graph: structures.
        among: which pairs count.
        cutoff: of the network, Å.
        left_out: share of Coulomb's law that near pairs are spared, as a function of distances in
            Å; 0 from ``among.full_strength`` on.

    Returns:
        (N, C) eV.
    """
    edges = edges_within(graph, among.molecule_reach(), cutoff)
    distances = pair_distances(graph, edges)
    missing = left_out(distances)
    if among.cutoff is None:
        kernel = (1 - missing) / distances
    else:
        dielectric = among.dielectric or math.inf
        kernel = (1 - missing) * reaction_field(distances, among.cutoff, dielectric)
    periodic = None
    if among.cutoff is None and graph.k_vectors is not None:
        # Without k vectors all structures are molecules.
        periodic = jnp.any(graph.pbc, axis=-1)
        near = ewald.screened(distances, among.splitting(cutoff)) - missing / distances
        near = jnp.where(distances < among.periodic_reach(cutoff), near, 0)
        owner = graph.node_graph[edges.receivers[: edges.num_pairs]]
        kernel = jnp.where(periodic[owner], near, kernel)
    kernel = jnp.where(edges.pair_mask, COULOMB * kernel, 0)
    energies = electrostatic_energies(charges, kernel, edges.index)
    if periodic is not None:
        potentials = _far_potentials(charges, graph, periodic, among.splitting(cutoff))
        energies = energies + 0.5 * COULOMB * charges * potentials
    return energies


def _far_potentials(
    charges: Float[Array, "atoms channels"],
    graph: AtomGraph,
    periodic: Bool[Array, " structures"],
    splitting: float,
) -> Float[Array, "atoms channels"]:
    """All of the potential in periodic structures but that of near pairs, (N, C) e/Å."""
    place = graph.positions, graph.cell, graph.node_graph
    found = ewald.constant_potentials(charges, *place[1:], periodic, splitting)
    if graph.k_vectors is not None and graph.k_vectors.shape[1]:
        found = found + ewald.reciprocal_potentials(charges, *place, graph.k_vectors, splitting)
    if graph.mesh is not None:
        # Those that have no k vectors have a mesh.
        meshed = periodic & ~jnp.any(graph.k_vectors != 0, axis=(1, 2))
        found = found + mesh_potentials(charges, *place, meshed, graph.mesh, splitting)
    return found


def edges_within(graph: AtomGraph, reach: float, cutoff: float) -> EdgeList:
    """Return the shortest list of a graph that holds the pairs within a reach.

    Args:
        graph: the graph.
        reach: Å.
        cutoff: of the network, Å, to which the graph's ordinary list extends.
    """
    if reach <= cutoff:
        return graph.edges
    if graph.long_edges is None:
        raise ValueError(
            "the graph has no list of pairs beyond the network's cutoff: make its structures by "
            "Potential.structure"
        )
    return graph.long_edges


def pair_distances(graph: AtomGraph, edges: EdgeList) -> Float[Array, " pairs"]:
    """Distances of pairs in Å, 1 for padding, where a kernel may have a pole at 0."""
    return jnp.where(edges.pair_mask, norm(graph.pair_vectors(edges)), 1)
