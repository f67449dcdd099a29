"""What eSCN's layers know of the edges, and the weights they make of it."""

from typing import NamedTuple

import flax.linen as nn
import jax
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.models.layers import SILU_GAIN, Perceptron
from tensornet_jax.models.spherical.geometry import edge_geometry, radial_basis
from tensornet_jax.ops.kernels.choice import for_gpu
from tensornet_jax.ops.messages.message import EdgeIndex, on_both_edges
from tensornet_jax.ops.rotations.edge_frames import EdgeFrames, edge_frames
from tensornet_jax.ops.rotations.frame_matrices import frame_matrices


class Edges(NamedTuple):
    """What the layers share of a graph's edges.

    connectivity: which atoms they join.
    frames: of all edges, (E, 1), for the layout of a CPU; None for the others.
    matrices: rotations onto all edges, for the layout of accelerators; None for the others.
    harmonics: of degrees 0 … l_max, normalization ``component``; to 2 l_max for convolutions by
        paths.
    basis: radial functions times the cutoff function, 0 for padding.
    species: of receivers and senders.
    """

    connectivity: EdgeIndex
    frames: EdgeFrames | None
    matrices: Float[Array, "entries edges"] | None
    harmonics: Float[Array, "edges components"]
    basis: Float[Array, "edges radial"]
    species: tuple[Int[Array, " edges"], Int[Array, " edges"]]


def edges_of(graph: AtomGraph, config: ESCNConfig) -> Edges:
    """Return what the layers are to know of a graph's edges."""
    by_paths = config.convolution == "clebsch_gordan"
    geometry = edge_geometry(
        graph,
        2 * config.l_max if by_paths else config.l_max,
        lambda distances: radial_basis(distances, config),
    )
    directions = on_both_edges(geometry.directions, -1)
    edges, in_layout = graph.edges, for_gpu() and not by_paths
    frames = None if by_paths or in_layout else edge_frames(directions[:, None], config.l_max)
    return Edges(
        edges.index,
        frames,
        frame_matrices(directions, config.l_max, config.highest_order) if in_layout else None,
        geometry.harmonics,
        on_both_edges(geometry.basis),
        (graph.species[edges.receivers], graph.species[edges.senders]),
    )


class EdgeNetwork(nn.Module):
    """Weights of an edge from its distance and the elements at its ends, 0 at the cutoff.

    features: numbers that come out.
    """

    config: ESCNConfig
    num_species: int
    features: int
    dtype: str

    @nn.compact
    def __call__(self, edges: Edges) -> Float[Array, "edges features"]:
        """Return as many weights of each edge as there are features."""
        c, first = self.config, self.config.radial_widths[0]
        # One linear layer of distance and both elements, the elements as tables: their factors
        # multiply the radial part, so that all of it vanishes at the cutoff.
        values = Perceptron((), first, self.dtype, name="radial")(edges.basis)
        for name, species in zip(("receiver", "sender"), edges.species, strict=True):
            table = self.param(
                name, nn.initializers.normal(1.0), (self.num_species, first), self.dtype
            )
            values = values * (1 + table[species])
        values = SILU_GAIN * jax.nn.silu(values)
        return Perceptron(c.radial_widths[1:], self.features, self.dtype, name="layers")(values)
