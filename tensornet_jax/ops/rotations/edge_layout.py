"""Where components stand in features of edges that a product of matrices is to take as they are."""

from collections.abc import Iterator
from dataclasses import dataclass

from jax import Array
from jaxtyping import Float

Orders = tuple[Float[Array, "edges signs degrees channels"], ...]
"""Features in the frames of edges, one array for each order |m|, see `EdgeLayout`."""


@dataclass(frozen=True)
class EdgeLayout:
    """Layouts of features of atoms, of edges, and of the rotation matrices between them.

    Features of atoms are (N, (l_max + 1)², C) in e3nn's order. Features of edges are one array for
    each order |m| to m_max, (E, signs, l_max + 1 − |m|, ends · C): m and then −m, one sign for
    m = 0; the degrees from |m| on; the channels of the receiver and then, with two ends, of the
    sender. Matrices are (entries, E): by degree, order m (row) and component (column).

    Attributes:
        l_max: highest degree.
        m_max: highest order |m| of the edges' features.
        ends: 1 for features of the receivers, 2 for those of receivers and senders.
    """

    l_max: int
    m_max: int
    ends: int

    @property
    def degrees(self) -> range:
        """The degrees."""
        return range(self.l_max + 1)

    @property
    def rows(self) -> Iterator[tuple[int, int]]:
        """Degree and order of the matrices' rows."""
        return ((degree, order) for degree in self.degrees for order in self.orders(degree))

    @property
    def num_components(self) -> int:
        """Components of the atoms' features."""
        return (self.l_max + 1) ** 2

    @property
    def num_entries(self) -> int:
        """Entries of the matrices."""
        return self.entries(self.l_max, self._highest(self.l_max)).stop

    def _highest(self, degree: int) -> int:
        return min(degree, self.m_max)

    def orders(self, degree: int) -> range:
        """The orders of a degree that edges keep."""
        return range(-self._highest(degree), self._highest(degree) + 1)

    def components(self, degree: int) -> range:
        """Where the components of a degree stand in features of atoms."""
        return range(degree**2, (degree + 1) ** 2)

    def entries(self, degree: int, order: int) -> range:
        """Where the row of a degree and an order stands in the matrices."""
        start = sum(len(self.orders(lower)) * (2 * lower + 1) for lower in range(degree))
        start += (order + self._highest(degree)) * (2 * degree + 1)
        return range(start, start + 2 * degree + 1)

    def place(self, degree: int, order: int) -> tuple[int, int, int]:
        """Where a component stands in features of edges: array, sign and degree."""
        return abs(order), int(order < 0), degree - abs(order)

    def shapes(self, num_edges: int, channels: int) -> tuple[tuple[int, int, int, int], ...]:
        """Shapes of the features of edges."""
        return tuple(
            (num_edges, 2 if order else 1, self.l_max + 1 - order, self.ends * channels)
            for order in range(self.m_max + 1)
        )
