"""The edges of a padded graph: which atoms see each other, in arrays of static shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Int32

from tensornet_jax.graph.arrays import ArrayT
from tensornet_jax.graph.neighbors import Pairs
from tensornet_jax.ops.messages.message import EdgeIndex, at_receivers


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EdgeList(Generic[ArrayT]):
    """Neighbor pairs as edges in both directions.

    Of P pairs, edge e + P is the reverse of edge e, so a pair's two edges share what depends on
    the distance alone.

    receivers: center i.
    senders: neighbor j; the vector is r_j + shifts @ cell − r_i.
    shifts: lattice vectors between them.
    mask: False for padding, which connects the padding atom with itself.
    slots: edges arriving at each atom, padded with the last (masked) edge.
    displacements: added to the vectors of pairs, Å, for derivatives by them; None for nothing.
    """

    receivers: Int[ArrayT, " edges"]
    senders: Int[ArrayT, " edges"]
    shifts: Int[ArrayT, "edges 3"]
    mask: Bool[ArrayT, " edges"]
    slots: Int[ArrayT, "atoms slots"]
    displacements: Float[ArrayT, "pairs 3"] | None = None

    @property
    def index(self: "EdgeList[Array]") -> EdgeIndex:
        """Connectivity in the form `ops.message` takes."""
        return EdgeIndex(self.receivers, self.senders, self.slots)

    @property
    def num_pairs(self) -> int:
        """Number of pairs P, padding included (static)."""
        return self.receivers.shape[0] // 2

    @property
    def pair_mask(self) -> Bool[ArrayT, " pairs"]:
        """Which pairs are real."""
        return self.mask[: self.num_pairs]

    def replace(self, **changes: object) -> "EdgeList[ArrayT]":
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    def pair_vectors(
        self: "EdgeList[Array]",
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "structures 3 3"],
        node_graph: Int[Array, " atoms"],
    ) -> Float[Array, "pairs 3"]:
        """Vectors r_j + shift·cell − r_i of the first edges of the pairs, Å; 0 for padding.

        Args:
            positions: Å.
            cell: Å.
            node_graph: structure of each atom.
        """
        half = self.num_pairs
        cells = cell[node_graph[self.receivers[:half]]]
        offsets = jnp.einsum("pa,pab->pb", self.shifts[:half].astype(cells.dtype), cells)
        centers = at_receivers(positions, self.index)
        vectors = centers[half:] + offsets - centers[:half]
        if self.displacements is not None:
            vectors = vectors + self.displacements
        return jnp.where(self.pair_mask[:, None], vectors, 0)


def pack_pairs(
    lists: Sequence[Pairs], offsets: Sequence[int], num_atoms: int, num_pairs: int, num_slots: int
) -> EdgeList[np.ndarray]:
    """Pack the pairs of structures into one list of numpy arrays.

    Args:
        lists: pairs of each structure.
        offsets: the place of each structure's first atom among all.
        num_atoms: in the graph, of which the last is padding.
        num_pairs: in the graph, of which one at least must be padding.
        num_slots: of each atom.
    """
    first = np.full(num_pairs, num_atoms - 1, np.int32)
    second = np.full(num_pairs, num_atoms - 1, np.int32)
    shifts = np.zeros((num_pairs, 3), np.int32)
    mask = np.zeros(num_pairs, bool)
    start = 0
    for pairs, offset in zip(lists, offsets, strict=True):
        here = slice(start, start + len(pairs))
        first[here] = pairs.first + offset
        second[here] = pairs.second + offset
        shifts[here] = pairs.shifts
        mask[here] = True
        start = here.stop
    receivers, both = np.concatenate([first, second]), np.concatenate([mask, mask])
    return EdgeList(
        receivers=receivers,
        senders=np.concatenate([second, first]),
        shifts=np.concatenate([shifts, -shifts]),
        mask=both,
        slots=slot_table(receivers, both, num_atoms, num_slots),
    )


def slot_table(
    receivers: Int[np.ndarray, " edges"],
    edge_mask: Bool[np.ndarray, " edges"],
    num_atoms: int,
    num_slots: int,
) -> Int32[np.ndarray, "atoms slots"]:
    """Edges arriving at each atom; unused slots name the last edge."""
    table = np.full((num_atoms, num_slots), len(receivers) - 1, np.int32)
    edges = np.flatnonzero(edge_mask)
    edges = edges[np.argsort(receivers[edges], kind="stable")]
    owners = receivers[edges]
    starts = np.searchsorted(owners, np.arange(num_atoms))
    table[owners, np.arange(len(owners)) - starts[owners]] = edges
    return table
