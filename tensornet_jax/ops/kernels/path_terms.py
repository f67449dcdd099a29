"""The coefficients of messages with a weight for each path of the Clebsch–Gordan product."""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple


class Place(NamedTuple):
    """A component of a message: degree, order from 0 to 2l, and which of the copies."""

    degree: int
    order: int
    copy: int


class Entry(NamedTuple):
    """What one component of the neighbor adds to one of the message, along one path.

    path: number of the weight.
    first: component of the neighbor.
    place: component of the message.
    factors: (component of the harmonics, coefficient) whose sum multiplies the two.
    """

    path: int
    first: int
    place: Place
    factors: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class PathTerms:
    """The coefficients C of Φ.

    Attributes:
        num_components: (l_in_max + 1)² of the neighbors and (l_max + 1)² of the harmonics.
        copies: for each degree of the message, how many paths lead there.
        entries: in the order of the paths.
    """

    num_components: tuple[int, int]
    copies: tuple[int, ...]
    entries: tuple[Entry, ...]

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """All components of a message."""
        return tuple(
            Place(degree, order, copy)
            for degree, copies in enumerate(self.copies)
            for copy in range(copies)
            for order in range(2 * degree + 1)
        )

    @cached_property
    def by_path(self) -> tuple[tuple[Entry, ...], ...]:
        """The entries of each path."""
        return tuple(tuple(own) for _, own in groupby(self.entries, lambda entry: entry.path))

    @cached_property
    def num_terms(self) -> int:
        """How many coefficients there are."""
        return sum(len(entry.factors) for entry in self.entries)
