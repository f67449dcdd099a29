"""Few array sizes for structures of many sizes: each new size is a program to compile."""

import threading
from collections.abc import Sequence
from itertools import pairwise

from tensornet_jax.graph.atom_graph import COARSE, FINE, Capacity, rung
from tensornet_jax.graph.structure import Structure
from tensornet_jax.ops.messages.message import SLOT_BLOCK

TIGHT = 2
"""So many capacities fit the structures they were made for; later ones leave room to grow."""
GROWTH, LARGEST_WASTE = 1.8, 3.5
"""Of later capacities: their atoms, pairs and slots, in units of what their first structures need,
and how many times the needs of further structures that may be."""
LARGE = 1500
"""From so many atoms on computing takes longer than is won by compiling seldom:"""
GROWTH_OF_LARGE, WASTE_OF_LARGE = 1.2, 1.5

# Below these sizes computing takes no longer than calling, so that there is nothing to waste.
_SMALL = Capacity(1, 16, 128, 16, 128, 16, 32)


class CapacityLadder:
    """The capacities that have been compiled for, and the choice of one for further structures.

    Whoever evaluates structures of one size gets arrays that fit them. Once there are more than
    `TIGHT`, structures of many sizes are coming by: new arrays are larger by `GROWTH`, and any
    serve that are within `LARGEST_WASTE`. The number of capacities then grows with the logarithm of
    the range of sizes. Several threads may use one ladder.
    """

    def __init__(self) -> None:
        self._known: list[Capacity] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def choose(
        self, structures: Sequence[Structure], headroom: float = 1.0, rungs: int = COARSE
    ) -> Capacity:
        """Return a capacity that holds these structures, one that is known if possible.

        Args:
            structures: what must fit in one graph.
            headroom: factor on pairs and slots of a new capacity, for lists that will grow.
            rungs: of the ladder of a new capacity's sizes, see `rung`.
        """
        return self._choose([structures], headroom, rungs)

    def choose_for_each(
        self, packs: Sequence[Sequence[Structure]], headroom: float = 1.0
    ) -> Capacity:
        """Return one capacity that holds each of several packs of structures alone."""
        return self._choose(packs, headroom)

    def _choose(
        self, packs: Sequence[Sequence[Structure]], headroom: float, rungs: int = COARSE
    ) -> Capacity:
        needed = _in_powers_of_two(_holding_each(packs, 1.0, rungs))
        with self._lock:
            for capacity in sorted(self._known):
                fits = all(capacity.holds(structures) for structures in packs)
                if fits and not is_wasteful(capacity, needed):
                    return capacity
            new = _in_powers_of_two(_holding_each(packs, headroom, rungs))
            # Fine rungs are for one structure that many of like size follow.
            if rungs == COARSE and len(self._known) >= TIGHT:
                new = _grown(new, GROWTH_OF_LARGE if needed.atoms > LARGE else GROWTH)
            self._known.append(new)
            return new

    def fit(self, structures: Sequence[Structure], headroom: float = 1.0) -> Capacity:
        """Return the capacity made for these structures, for runs that are worth a compilation.

        Args:
            structures: what must fit in one graph.
            headroom: factor on pairs and slots, for lists that will grow.
        """
        own = fitting(structures, headroom)
        self.add(own)
        return own

    def add(self, capacity: Capacity) -> None:
        """Let further structures use a capacity that is compiled for."""
        with self._lock:
            if capacity not in self._known:
                self._known.append(capacity)


def fitting(structures: Sequence[Structure], headroom: float) -> Capacity:
    """Return the capacity that `CapacityLadder.fit` makes for these structures."""
    return _in_powers_of_two(Capacity.holding(structures, headroom, FINE))


def is_wasteful(capacity: Capacity, needed: Capacity, limit: float | None = None) -> bool:
    """Tell whether a capacity is too large for structures of a size to be computed in it.

    Args:
        capacity: to be used.
        needed: the smallest for these structures.
        limit: how many times the needed sizes it may have; by default as the ladder has it.
    """
    if limit is None:
        limit = WASTE_OF_LARGE if needed.atoms > LARGE else LARGEST_WASTE
    for size, least, small in zip(capacity, needed, (*_SMALL, 0, 0, 0), strict=False):
        # What the structures lack (a far field) their arrays must not have either.
        if size and not least:
            return True
        if size > small and size > limit * least:
            return True
    return False


def _holding_each(packs: Sequence[Sequence[Structure]], headroom: float, rungs: int) -> Capacity:
    alone = [Capacity.holding(structures, headroom, rungs) for structures in packs]
    return Capacity(*map(max, zip(*alone, strict=True)))


def _grown(capacity: Capacity, growth: float) -> Capacity:
    def slots(size: int) -> int:
        return -(-rung(int(size * growth)) // SLOT_BLOCK) * SLOT_BLOCK

    def more(size: int) -> int:
        return rung(int(size * growth)) if size else 0

    return capacity._replace(
        atoms=more(capacity.atoms),
        pairs=more(capacity.pairs),
        slots=slots(capacity.slots),
        long_pairs=more(capacity.long_pairs),
        long_slots=slots(capacity.long_slots) if capacity.long_pairs else 0,
        k_vectors=more(capacity.k_vectors),
    )


def _in_powers_of_two(capacity: Capacity) -> Capacity:
    """Round the number of structures up, or fifty batch sizes would compile fifty times."""
    return capacity._replace(graphs=1 << (capacity.graphs - 1).bit_length())


def packs(sizes: Sequence[int], batch_size: int | None, most_atoms: int) -> list[list[int]]:
    """Indices of structures to evaluate together, of like size so that little is padding.

    Args:
        sizes: atoms of each.
        batch_size: the most at a time; None for as many as `most_atoms` allow.
        most_atoms: atoms of a pack, unless one structure alone has more.
    """
    order = sorted(range(len(sizes)), key=lambda k: sizes[k])
    if batch_size:
        # Of like numbers: a small rest would have arrays, and a program, of its own.
        num = -(-len(order) // batch_size)
        ends = [len(order) * k // num for k in range(num + 1)] if num else []
        return [order[begin:end] for begin, end in pairwise(ends)]
    found: list[list[int]] = []
    atoms = 0
    for k in order:
        if not found or atoms + sizes[k] > most_atoms:
            found.append([])
            atoms = 0
        found[-1].append(k)
        atoms += sizes[k]
    return found
