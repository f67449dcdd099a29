"""Which padded sizes a run compiles: few, chosen from the batches it will really see.

The choice depends on the data and the order of batches alone, never on what happened before, so a
resumed run pads every batch as the uninterrupted run would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.train.data.examples import Sizes

# Another compilation must save at least this share of the work on the batches it serves.
WORTHWHILE = 0.2
# Sizes are rounded up to multiples of this, which vector units like.
GRANULE = 8

Count = TypeVar("Count", int, np.ndarray)


@dataclass(frozen=True)
class Capacities:
    """A ladder of capacities for the batches of one data set.

    Attributes:
        ladder: from the smallest to the one that holds every possible batch.
        num_atoms: (M,) atoms of each structure.
        num_pairs: (M,) neighbor pairs of each structure.
        num_long_pairs: (M,) pairs of its long list, 0 where there is none.
    """

    ladder: tuple[Capacity, ...]
    num_atoms: np.ndarray
    num_pairs: np.ndarray
    num_long_pairs: np.ndarray

    @classmethod
    def choose(cls, sizes: Sizes, batch_size: int, examples: Sequence[np.ndarray]) -> "Capacities":
        """Choose capacities for batches of these structures.

        The largest holds the `batch_size` largest structures together. Below it there is one for
        the largest example and one for the median, where they save at least WORTHWHILE.

        Args:
            sizes: of all structures.
            batch_size: the most structures in a batch.
            examples: indices of structures, for each of a fair number of batches.
        """
        counts = sizes.atoms, sizes.pairs, sizes.long_pairs
        largest = sizes.largest()

        def capacity(atoms: float, pairs: float, long_pairs: float) -> Capacity:
            far = (_rounded(long_pairs + 1), largest.long_slots) if largest.long_slots else (0, 0)
            near = _rounded(atoms + 1), _rounded(pairs + 1), largest.slots
            return Capacity(batch_size, *near, *far, *largest[-4:])

        sums = np.array([[_sum(own[batch]) for own in counts] for batch in examples])
        # Sorted as far as needed only, one column at a time: there may be very many structures.
        most = min(batch_size, len(sizes))
        ladder = [capacity(*(_sum(np.partition(own, -most)[-most:]) for own in counts))]
        for quantile in (1.0, 0.5):
            smaller = capacity(*np.quantile(sums, quantile, axis=0, method="higher"))
            if _work(smaller) < (1 - WORTHWHILE) * _work(ladder[0]):
                ladder.insert(0, smaller)
        return cls(tuple(ladder), *counts)

    @property
    def costs(self) -> np.ndarray:
        """(M,) work that each structure is, in any unit."""
        return _work_of(self.num_atoms, self.num_pairs, self.num_long_pairs)

    def of(self, indices: np.ndarray) -> Capacity:
        """Return the smallest capacity that holds the structures with these indices."""
        counts = (self.num_atoms, self.num_pairs, self.num_long_pairs)
        atoms, pairs, far = (_sum(count[indices]) for count in counts)
        for capacity in self.ladder:
            # A list has one pair of padding, but where there is no long list there is no room.
            room = capacity.long_pairs - 1 if capacity.long_pairs else 0
            if atoms < capacity.atoms and pairs < capacity.pairs and far <= room:
                return capacity
        raise ValueError(
            f"a batch of {len(indices)} structures with {atoms} atoms and {pairs} pairs exceeds "
            f"{self.ladder[-1]}: batches must not hold more structures than planned"
        )


def _sum(counts: np.ndarray) -> int:
    # Sums of int32 are wider on some platforms only.
    return int(counts.sum(dtype=np.int64))


def costs_of(sizes: Sizes) -> np.ndarray:
    """Return the work that each structure is, in any unit, (M,)."""
    return _work_of(sizes.atoms, sizes.pairs, sizes.long_pairs)


def _rounded(size: float) -> int:
    return -(-int(size) // GRANULE) * GRANULE


def _work(capacity: Capacity) -> int:
    return _work_of(capacity.atoms, capacity.pairs, capacity.long_pairs)


def _work_of(atoms: Count, pairs: Count, long_pairs: Count) -> Count:
    # Edges dominate where there are any; atoms count so that edgeless data have a size too.
    return pairs + long_pairs + atoms


@dataclass
class Padding:
    """Slots of batches, and how many of them held an atom or a neighbor pair."""

    atoms: int = 0
    atom_slots: int = 0
    pairs: int = 0
    pair_slots: int = 0

    def add(
        self, capacities: Capacities, indices: np.ndarray, capacity: Capacity | None = None
    ) -> None:
        """Count one graph, padded to the capacity for these structures or to a larger one."""
        capacity = capacities.of(indices) if capacity is None else capacity
        self.atoms += _sum(capacities.num_atoms[indices])
        self.atom_slots += capacity.atoms
        self.pairs += _sum(capacities.num_pairs[indices])
        self.pair_slots += capacity.pairs

    def fractions(self) -> tuple[float, float]:
        """Return the share of atom slots and of pair slots that was padding; 0 before any batch."""
        return (
            1 - self.atoms / self.atom_slots if self.atom_slots else 0.0,
            1 - self.pairs / self.pair_slots if self.pair_slots else 0.0,
        )
