"""Which atoms the edges of a graph connect."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Int


class EdgeIndex(NamedTuple):
    """Who is connected to whom.

    receivers: (E,) atom i at which the edge arrives; edge e + E/2 is the reverse of edge e.
    senders: (E,) atom j from which it comes.
    slots: (N, K) edges arriving at each atom; unused slots name the last edge, a padding edge.
    """

    receivers: Int[Array, " edges"]
    senders: Int[Array, " edges"]
    slots: Int[Array, "atoms slots"]

    @property
    def num_pairs(self) -> int:
        """Number of pairs, E/2."""
        return self.receivers.shape[0] // 2


def reversed_edges(edges: EdgeIndex) -> EdgeIndex:
    """Return the same connections with every edge turned around, under its old number."""
    padding = 2 * edges.num_pairs - 1
    reverse = jnp.where(
        edges.slots == padding, padding, (edges.slots + edges.num_pairs) % (2 * edges.num_pairs)
    )
    return EdgeIndex(edges.senders, edges.receivers, reverse)


def with_isolated_atoms(edges: EdgeIndex, count: int) -> EdgeIndex:
    """Return the same connections with so many atoms without neighbors after the others."""
    padding = 2 * edges.num_pairs - 1
    return edges._replace(slots=jnp.pad(edges.slots, [(0, count), (0, 0)], constant_values=padding))
