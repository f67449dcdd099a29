"""Which padded sizes a run compiles: few, chosen from the batches it will really see.

The choice depends on the data and the order of batches alone, never on what happened before, so a
resumed run pads every batch as the uninterrupted run would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensornet_jax.graph.atom_graph import Capacity, Structure

# Another compilation must save at least this share of the work on the batches it serves.
WORTHWHILE = 0.2
# Sizes are rounded up to multiples of this, which vector units like.
GRANULE = 8


@dataclass(frozen=True)
class Capacities:
    """A ladder of capacities for the batches of one data set.

    Attributes:
        ladder: from the smallest to the one that holds every possible batch.
        num_atoms: (M,) atoms of each structure.
        num_pairs: (M,) neighbour pairs of each structure.
    """

    ladder: tuple[Capacity, ...]
    num_atoms: np.ndarray
    num_pairs: np.ndarray

    @classmethod
    def choose(
        cls, structures: Sequence[Structure], batch_size: int, examples: Sequence[np.ndarray]
    ) -> "Capacities":
        """Choose capacities for batches of these structures.

        The largest holds the `batch_size` largest structures together. Below it there is one for
        the largest example and one for the median, where they save at least WORTHWHILE.

        Args:
            structures: all structures.
            batch_size: the most structures in a batch.
            examples: indices of structures, for each of a fair number of batches.
        """
        num_atoms = np.array([len(s) for s in structures], dtype=np.int64)
        num_pairs = np.array([len(s.pairs) for s in structures], dtype=np.int64)
        slots = max(Capacity.holding([s]).slots for s in structures)

        def capacity(atoms: float, pairs: float) -> Capacity:
            return Capacity(batch_size, _rounded(atoms + 1), _rounded(pairs + 1), slots)

        sums = np.array([(num_atoms[b].sum(), num_pairs[b].sum()) for b in examples])
        largest = capacity(
            np.sort(num_atoms)[-batch_size:].sum(), np.sort(num_pairs)[-batch_size:].sum()
        )
        ladder = [largest]
        for quantile in (1.0, 0.5):
            smaller = capacity(*np.quantile(sums, quantile, axis=0, method="higher"))
            if _work(smaller) < (1 - WORTHWHILE) * _work(ladder[0]):
                ladder.insert(0, smaller)
        return cls(tuple(ladder), num_atoms, num_pairs)

    def of(self, indices: np.ndarray) -> Capacity:
        """Return the smallest capacity that holds the structures with these indices."""
        atoms, pairs = self.num_atoms[indices].sum(), self.num_pairs[indices].sum()
        for capacity in self.ladder:
            if atoms < capacity.atoms and pairs < capacity.pairs:
                return capacity
        raise ValueError(
            f"a batch of {len(indices)} structures with {atoms} atoms and {pairs} pairs exceeds "
            f"{self.ladder[-1]}: batches must not hold more structures than planned"
        )


def _rounded(size: float) -> int:
    return -(-int(size) // GRANULE) * GRANULE


def _work(capacity: Capacity) -> int:
    # Edges dominate where there are any; atoms count so that edgeless data have a size too.
    return capacity.pairs + capacity.atoms


@dataclass
class Padding:
    """Slots of batches, and how many of them held an atom or a neighbour pair."""

    atoms: int = 0
    atom_slots: int = 0
    pairs: int = 0
    pair_slots: int = 0

    def add(self, capacities: Capacities, indices: np.ndarray) -> None:
        """Count one batch."""
        capacity = capacities.of(indices)
        self.atoms += int(capacities.num_atoms[indices].sum())
        self.atom_slots += capacity.atoms
        self.pairs += int(capacities.num_pairs[indices].sum())
        self.pair_slots += capacity.pairs

    def fractions(self) -> tuple[float, float]:
        """Return the share of atom slots and of pair slots that was padding; 0 before any batch."""
        return (
            1 - self.atoms / self.atom_slots if self.atom_slots else 0.0,
            1 - self.pairs / self.pair_slots if self.pair_slots else 0.0,
        )
