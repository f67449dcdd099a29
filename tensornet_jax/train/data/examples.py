"""Structures ready for the network, by index: held in memory, or made when they are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int32

from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.targets import Targets


class Example(NamedTuple):
    """A structure ready for the network.

    Attributes:
        structure: with its neighbor pairs.
        targets: labels in float64, the energy without the isolated atoms' energies, and weights.
        source: file and frame.
    """

    structure: Structure
    targets: Targets
    source: str


@dataclass(frozen=True)
class Sizes:
    """How large structures are, known without making them; what batches are planned with.

    Attributes:
        table: a row for each structure: atoms, neighbor pairs, edge slots of an atom, the same two
            of the long list (0 where there is none), k vectors, and points of the mesh along each
            lattice vector.
    """

    table: Int32[np.ndarray, "structures 9"]

    @classmethod
    def of(cls, structures: Iterable[Structure]) -> "Sizes":
        """Return the sizes of structures."""
        rows = [size_of(structure) for structure in structures]
        return cls(np.array(rows, np.int32).reshape(len(rows), 9))

    def __len__(self) -> int:
        return len(self.table)

    def __add__(self, other: "Sizes") -> "Sizes":
        return Sizes(np.concatenate([self.table, other.table]))

    @property
    def atoms(self) -> Int32[np.ndarray, " structures"]:
        """Atoms of each structure."""
        return self.table[:, 0]

    @property
    def pairs(self) -> Int32[np.ndarray, " structures"]:
        """Neighbor pairs of each structure."""
        return self.table[:, 1]

    @property
    def long_pairs(self) -> Int32[np.ndarray, " structures"]:
        """Pairs of the long list of each structure, 0 where there is none."""
        return self.table[:, 3]

    def largest(self) -> Capacity:
        """Return a capacity for any one structure alone: the maximum of every column."""
        atoms, pairs, slots, far, far_slots, *waves = self.table.max(axis=0).tolist()
        return Capacity(1, atoms, pairs, slots, far, far_slots, *waves)


def size_of(structure: Structure) -> tuple[int, ...]:
    """Return the row of a structure in `Sizes.table`."""
    alone = Capacity.holding([structure])
    far = 0 if structure.far is None else len(structure.far.pairs)
    near = len(structure), len(structure.pairs), alone.slots
    return (*near, far, alone.long_slots, *alone[-4:])


class Examples(Protocol):
    """Structures ready for the network, in the order of the set they come from.

    `examples[k]` may read a file and search neighbors: ask in background threads, and once; for
    several, `many` may share the work between processes.
    """

    @property
    def sizes(self) -> Sizes:
        """How large they are."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def many(self, indices: Sequence[int]) -> list[Example]:
        """Return several examples."""
        ...

    def source(self, index: int) -> str:
        """Return file and frame of a structure, without making it."""
        ...


class HeldExamples:
    """Examples in memory.

    Args:
        examples: those.
    """

    def __init__(self, examples: Sequence[Example]):
        self._examples = list(examples)
        self.sizes = Sizes.of(each.structure for each in self._examples)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)

    def many(self, indices: Sequence[int]) -> list[Example]:
        """Return several examples."""
        return [self._examples[index] for index in indices]

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        return self._examples[index].source


class JoinedExamples:
    """The examples of one set followed by those of another."""

    def __init__(self, first: Examples, second: Examples):
        self._first, self._second = first, second
        self.sizes = first.sizes + second.sizes

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Example:
        own, place = self._place(index)
        return own[place]

    def many(self, indices: Sequence[int]) -> list[Example]:
        """Return several examples."""
        count = len(self._first)
        first = iter(self._first.many([k for k in indices if k < count]))
        second = iter(self._second.many([k - count for k in indices if k >= count]))
        return [next(first if k < count else second) for k in indices]

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        own, place = self._place(index)
        return own.source(place)

    def _place(self, index: int) -> tuple[Examples, int]:
        count = len(self._first)
        return (self._first, index) if index < count else (self._second, index - count)
