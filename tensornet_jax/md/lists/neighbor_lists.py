"""What the engine asks of neighbor lists, wherever they are made."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from tensornet_jax.md.lists.neighbors import Neighbors
from tensornet_jax.md.state import System

HEADROOM = 1.2
"""Pairs and slots a list may gain before the arrays have to grow and the model to compile."""


class ListUpdate(Protocol):
    """What becomes of lists within the compiled loop; hashable, and fixed when it is compiled."""

    @property
    def makes_lists(self) -> bool:
        """Whether lists are made within the loop, and have to travel through it."""
        ...

    def update(
        self,
        neighbors: Neighbors,
        system: System,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "structures 3 3"],
        cutoff: float,
        changes_cell: bool,
    ) -> tuple[Neighbors, Float[Array, " structures"]]:
        """Return lists for atoms that have moved, and Å they have left; traced.

        Where less than 0 is left, or NaN, the lists do not hold and the host has to see to them.
        For the arguments see `Neighbors.left`.
        """
        ...


class NeighborLists(Protocol):
    """The lists of the structures of a simulation: made by the host, kept up within the loop.

    cutoff: Å.
    skin: Å the lists reach beyond it.
    dtype: of the arrays on the device.
    atoms: rows of each structure.
    num_atoms: number of rows without padding.
    padded_atoms: number of rows with padding.
    num_rebuilds: how often the host made lists.
    num_grown: how often they had outgrown their arrays.
    """

    cutoff: float
    skin: float
    dtype: str
    atoms: list[slice]
    num_atoms: int
    padded_atoms: int
    num_rebuilds: int
    num_grown: int

    @property
    def on_device(self) -> bool:
        """Whether they are made within the loop."""
        ...

    @property
    def loop(self) -> ListUpdate:
        """What becomes of the lists that were made last within the compiled loop."""
        ...

    def renewed(
        self,
        neighbors: Neighbors,
        positions: Float[Array, "atoms 3"],
        cell: Float[Array, "structures 3 3"],
        changes_cell: bool,
    ) -> Neighbors | None:
        """Make lists anew on the device between two blocks of steps; None where the host has to.

        Args:
            neighbors: the lists before.
            positions: of the atoms now, Å.
            cell: Å.
            changes_cell: False promises that the cell is that of the lists.
        """
        ...

    def build(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "structures 3 3"],
        which: Bool[np.ndarray, " structures"] | None = None,
    ) -> Neighbors:
        """Make lists, in larger arrays if they do not fit.

        Args:
            positions: Å, without padding.
            cell: Å.
            which: structures that need a new list, while others may keep theirs; all by default.

        Raises:
            ValueError: two atoms coincide, or a cell has collapsed.
        """
        ...

    def saved_capacity(self) -> list[object]:
        """Return the sizes of the arrays as JSON."""
        ...

    def restore_capacity(self, saved: Sequence[object]) -> None:
        """Take over the sizes that other lists of the same structures had.

        Raises:
            ValueError: they are not those of such lists.
        """
        ...
