"""Where the structures of the device lie in space."""

from collections.abc import Sequence

import ase
import numpy as np
from jaxtyping import Bool, Float

from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.verlet_list import periodic_inverse
from tensornet_jax.md.lists.neighbors import FARTHEST_DRIFT


class Frame:
    """What has been taken off the positions on the device.

    Positions on the device are relative to the structure's center and wrapped into the cell now
    and then: there float32 has its digits. The whole path of an atom is
    ``positions + images @ cell + origin``.

    images: lattice vectors taken off.
    origin: Å taken off.
    start: wrapped positions and cells at the start, Å.
    """

    images: Float[np.ndarray, "atoms 3"]
    origin: Float[np.ndarray, "structures 3"]
    start: tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "structures 3 3"]]

    def __init__(self, atoms: Sequence[ase.Atoms], structures: Sequence[Structure]) -> None:
        """Take over the start, and where the atoms were before they were wrapped."""
        self._pbc = [structure.pbc for structure in structures]
        images, origin, positions = [], [], []
        for each, structure in zip(atoms, structures, strict=True):
            lattice = periodic_inverse(structure.cell, structure.pbc)
            images.append(np.rint((each.positions - structure.positions) @ lattice))
            center = structure.positions.mean(axis=0) if len(structure) else np.zeros(3)
            origin.append(center)
            positions.append(structure.positions - center)
        self.images = np.concatenate(images)
        self.origin = np.stack(origin)
        self.start = np.concatenate(positions), np.stack([s.cell for s in structures])

    def unwrapped(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "structures 3 3"],
        atoms: Sequence[slice],
    ) -> Float[np.ndarray, "atoms 3"]:
        """Return in float64, Å, where every atom has gone, for positions on the device."""
        result = np.array(positions, np.float64)
        for graph, here in enumerate(atoms):
            result[here] += self.images[here] @ cell[graph] + self.origin[graph]
        return result

    def rehome(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "structures 3 3"],
        atoms: Sequence[slice],
        which: Bool[np.ndarray, " structures"],
    ) -> Float[np.ndarray, "atoms 3"]:
        """Return Å to take off so that no atom is far from the origin, and note it.

        Args:
            positions: Å.
            cell: Å.
            atoms: rows of each structure.
            which: structures that may be moved.
        """
        shift = np.zeros((len(positions), 3))
        for graph, here in enumerate(atoms):
            if not which[graph]:
                continue
            lattice = np.asarray(cell[graph], np.float64)
            inside = np.array(positions[here], np.float64)
            fractional = inside @ periodic_inverse(lattice, self._pbc[graph])
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
