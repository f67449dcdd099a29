"""Coulomb energies of charges, fixed or predicted: of all pairs, all images, or within a cutoff."""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array
from pydantic import Field

from tensornet_jax.config import Config
from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.graph.long_range import EwaldMethod, Waves
from tensornet_jax.ops.interactions import ewald
from tensornet_jax.ops.interactions.coulomb import electrostatic_energies, reaction_field
from tensornet_jax.ops.interactions.pme import mesh_potentials, mesh_spacing
from tensornet_jax.ops.safe import norm
from tensornet_jax.units import COULOMB


class Ewald(Config):
    """How the charges of a periodic structure and of all its images are summed."""

    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å, of the pairs that are summed one by one; null for the network's cutoff",
    )
    accuracy: float = Field(
        default=1e-6,
        gt=0,
        le=1e-2,
        description="of the potential of a unit charge, e/Å",
    )
    method: EwaldMethod = Field(
        default="auto",
        description="sum over waves, particle mesh for large cells, or auto for the faster one",
    )
    background: bool = Field(
        default=False,
        description="neutralize a charged cell by a uniform charge; false to refuse it",
    )


class CoulombRange(Config):
    """Which pairs of charges count, and what lies beyond."""

    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å, of a reaction field; null for all pairs of a molecule, and all images of a "
        "periodic structure (Ewald)",
    )
    dielectric: float | None = Field(
        default=None,
        ge=1,
        description="constant beyond the cutoff; null for a conductor, whose forces end smoothly",
    )
    ewald: Ewald = Field(
        default=Ewald(), description="how periodic structures are summed where cutoff is null"
    )

    @property
    def full_strength(self) -> float:
        """Distance in Å from which on charges interact by Coulomb's law, nothing left out."""
        return 0.0

    def periodic_reach(self, cutoff: float) -> float:
        """Distance in Å to which pairs of a periodic structure are listed, given the network's."""
        return self.cutoff or max(self.ewald.cutoff or cutoff, self.full_strength)

    def molecule_reach(self) -> float:
        """The same of a molecule; infinite for all pairs."""
        return self.cutoff or math.inf

    def splitting(self, cutoff: float) -> float:
        """α of the Ewald sum in Å⁻¹, given the network's cutoff."""
        return ewald.splitting_of(self.periodic_reach(cutoff), self.ewald.accuracy)

    def waves(self, cutoff: float) -> Waves | None:
        """Waves its Ewald sum needs, given the network's cutoff; None if there is a cutoff."""
        if self.cutoff is not None:
            return None
        splitting, accuracy = self.splitting(cutoff), self.ewald.accuracy
        return Waves(
            ewald.reciprocal_cutoff(splitting, accuracy),
            mesh_spacing(splitting, accuracy),
            self.ewald.method,
            self.ewald.background,
        )


def finest_waves(ranges: Sequence[CoulombRange], cutoff: float) -> Waves | None:
    """Waves that are enough for all of several Coulomb energies; None where none needs any.

    Raises:
        ValueError: their methods differ.
    """
    found = [waves for each in ranges if (waves := each.waves(cutoff)) is not None]
    if not found:
        return None
    methods = {waves.method for waves in found}
    if len(methods) > 1:
        raise ValueError(
            f"Coulomb energies of one model share their waves, and ewald.method is "
            f"{' and '.join(sorted(methods))}: choose one"
        )
    return Waves(
        max(waves.cutoff for waves in found),
        min(waves.spacing for waves in found),
        found[0].method,
        all(waves.background for waves in found),
    )


def coulomb_energies(
    charges: Array,
    graph: AtomGraph,
    among: CoulombRange,
    cutoff: float,
    left_out: Callable[[Array], Array],
) -> Array:
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
    if among.cutoff is None and graph.waves is not None:
        # Without waves all structures are molecules.
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


def _far_potentials(charges: Array, graph: AtomGraph, periodic: Array, splitting: float) -> Array:
    """All of the potential in periodic structures but that of near pairs, (N, C) e/Å."""
    place = graph.positions, graph.cell, graph.node_graph
    found = ewald.constant_potentials(charges, *place[1:], periodic, splitting)
    if graph.waves is not None and graph.waves.shape[1]:
        found = found + ewald.reciprocal_potentials(charges, *place, graph.waves, splitting)
    if graph.mesh is not None:
        # Those that have no waves have a mesh.
        meshed = periodic & ~jnp.any(graph.waves != 0, axis=(1, 2))
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


def pair_distances(graph: AtomGraph, edges: EdgeList) -> Array:
    """(P,) distances of pairs in Å, 1 for padding, where a kernel may have a pole at 0."""
    return jnp.where(edges.pair_mask, norm(graph.pair_vectors(edges)), 1)
