"""The edges of a padded graph: which atoms see each other, in arrays of static shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.graph.neighbors import Pairs
from tensornet_jax.ops.messages.message import EdgeIndex, at_receivers


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EdgeList:
    """Neighbor pairs as edges in both directions: E = 2P edges of N atoms, K slots an atom.

    Edge e + P is the reverse of edge e, so a pair's two edges share what depends on the distance
    alone.

    receivers: (E,) int32 center i.
    senders: (E,) int32 neighbor j; the vector is r_j + shifts @ cell − r_i.
    shifts: (E, 3) int32.
    mask: (E,) bool, False for padding, which connects the padding atom with itself.
    slots: (N, K) int32 edges arriving at each atom, padded with the last (masked) edge.
    """

    receivers: Any
    senders: Any
    shifts: Any
    mask: Any
    slots: Any

    @property
    def index(self) -> EdgeIndex:
        """Connectivity in the form `ops.message` takes."""
        return EdgeIndex(self.receivers, self.senders, self.slots)

    @property
    def num_pairs(self) -> int:
        """Number of pairs P, padding included (static)."""
        return self.receivers.shape[0] // 2

    @property
    def pair_mask(self) -> Array:
        """Which pairs are real, (P,) bool."""
        return self.mask[: self.num_pairs]

    def pair_vectors(self, positions: Array, cell: Array, node_graph: Array) -> Array:
        """Vectors of the first edges of the pairs; 0 for padding.

        Args:
            positions: (N, 3) Å.
            cell: (B, 3, 3) Å.
            node_graph: (N,) structure of each atom.

        Returns:
            (P, 3) r_j + shift·cell − r_i, Å.
        """
        half = self.num_pairs
        cells = cell[node_graph[self.receivers[:half]]]
        offsets = jnp.einsum("pa,pab->pb", self.shifts[:half].astype(cells.dtype), cells)
        centers = at_receivers(positions, self.index)
        vectors = centers[half:] + offsets - centers[:half]
        return jnp.where(self.pair_mask[:, None], vectors, 0)


def pack_pairs(
    lists: Sequence[Pairs], offsets: Sequence[int], num_atoms: int, num_pairs: int, num_slots: int
) -> EdgeList:
    """Pack the pairs of structures into one list of numpy arrays.

    Args:
        lists: pairs of each structure.
        offsets: the place of each structure's first atom among all.
        num_atoms: N, of which the last is padding.
        num_pairs: P, of which one at least must be padding.
        num_slots: K.
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
    receivers: np.ndarray, edge_mask: np.ndarray, num_atoms: int, num_slots: int
) -> np.ndarray:
    """Edges arriving at each atom, (N, K) int32; unused slots name the last edge."""
    table = np.full((num_atoms, num_slots), len(receivers) - 1, np.int32)
    edges = np.flatnonzero(edge_mask)
    edges = edges[np.argsort(receivers[edges], kind="stable")]
    owners = receivers[edges]
    starts = np.searchsorted(owners, np.arange(num_atoms))
    table[owners, np.arange(len(owners)) - starts[owners]] = edges
    return table
