"""Where the structures of the device lie in space."""

from collections.abc import Sequence

import ase
import numpy as np

from tensornet_jax.graph.structure import Structure
from tensornet_jax.md.lists.host_lists import FARTHEST_DRIFT


class Frame:
    """What has been taken off the positions on the device.

    Positions on the device are relative to the structure's center and wrapped into the cell now
    and then: there float32 has its digits. The whole path of an atom is
    ``positions + images @ cell + origin``.

    images: (n, 3) lattice vectors taken off.
    origin: (B, 3) Å taken off.
    """

    def __init__(self, atoms: Sequence[ase.Atoms], structures: Sequence[Structure]) -> None:
        """Take over the start: wrapped positions (n, 3) and cells (B, 3, 3) in `start`."""
        self._pbc = [structure.pbc for structure in structures]
        images, origin, positions = [], [], []
        for each, structure in zip(atoms, structures, strict=True):
            lattice = self._inverse(structure.cell, structure.pbc)
            images.append(np.rint((each.positions - structure.positions) @ lattice))
            center = structure.positions.mean(axis=0) if len(structure) else np.zeros(3)
            origin.append(center)
            positions.append(structure.positions - center)
        self.images = np.concatenate(images)
        self.origin = np.stack(origin)
        self.start = np.concatenate(positions), np.stack([s.cell for s in structures])

    def unwrapped(
        self, positions: np.ndarray, cell: np.ndarray, atoms: Sequence[slice]
    ) -> np.ndarray:
        """Return (n, 3) float64 Å where every atom has gone, for positions on the device."""
        result = np.array(positions, np.float64)
        for graph, here in enumerate(atoms):
            result[here] += self.images[here] @ cell[graph] + self.origin[graph]
        return result

    def rehome(
        self, positions: np.ndarray, cell: np.ndarray, atoms: Sequence[slice], which: np.ndarray
    ) -> np.ndarray:
        """Return (n, 3) Å to take off so that nobody is far from the origin, and note it.

        Args:
            positions: (n, 3) Å.
            cell: (B, 3, 3) Å.
            atoms: rows of each structure.
            which: (B,) bool, structures that may be moved.
        """
        shift = np.zeros((len(positions), 3))
        for graph, here in enumerate(atoms):
            if not which[graph]:
                continue
            lattice = np.asarray(cell[graph], np.float64)
            inside = np.array(positions[here], np.float64)
            fractional = inside @ self._inverse(lattice, self._pbc[graph])
            # One cell of hysteresis: an atom at the border must not hop to and fro.
            images = np.where(abs(fractional) > 1, np.rint(fractional), 0)
            taken = images @ lattice
            center = (inside - taken).mean(axis=0)
            if np.linalg.norm(center) > FARTHEST_DRIFT / 2:
                taken = taken + center
                self.origin[graph] += center
            self.images[here] += images
            shift[here] = taken
        return shift

    @staticmethod
    def _inverse(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
        inverse = np.zeros((3, 3))
        inverse[:, pbc] = np.linalg.pinv(cell[pbc])
        return inverse
