"""A neighbor list on the device with a skin, and what tells how long it holds."""

from dataclasses import dataclass
from typing import Any

import ase
import jax
import numpy as np

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.electrons import raw_state, spin_multiplicity, total_charge
from tensornet_jax.graph.long_range import STRETCH
from tensornet_jax.graph.structure import Structure


def within(tol: float, new: np.ndarray, old: np.ndarray) -> bool:
    """Tell whether no number differs by more than `tol`."""
    # Written so that NaN counts as a change. Here and below numpy's ufuncs are called directly: a
    # step of dynamics comes by after the model has emptied the processor's caches, when every layer
    # of Python in between costs several times what it does in a tight loop.
    return bool(np.maximum.reduce(np.abs(new - old), axis=None, initial=0.0) <= tol)


def conditions_of(atoms: ase.Atoms) -> tuple[Any, ...]:
    """Return all but the positions that results depend on, quick to make and to compare."""
    charges = atoms.arrays.get("initial_charges")
    return (
        atoms.numbers.tobytes(),
        atoms.pbc.tobytes(),
        atoms.cell.array.tobytes(),
        # As it stands: not every potential looks at it, and it may be unusable.
        raw_state(atoms.info),
        None if charges is None else charges.tobytes(),
    )


@dataclass(frozen=True)
class Neighborhood:
    """A neighbor list on the device, and what is needed to tell how long it stays valid.

    atoms: the structure it was made for.
    conditions: its `conditions_of`.
    charge: e.
    spin: multiplicity 2S + 1; 0 where the potential does not depend on it.
    graph: its padded graph.
    device_cell: (3, 3) Å its cell, on the device.
    reference_energies: (N,) float64 eV.
    reach: Å the list reaches beyond the cutoff.
    images: (N, 3) lattice vectors taken off each position so that it lies in the cell.
    inverse: (3, 3) pseudo-inverse of the periodic lattice vectors, 0 along the open ones.
    start: (N, 3) Å its `local_positions`.
    """

    atoms: ase.Atoms
    conditions: tuple[Any, ...]
    charge: float
    spin: int
    graph: AtomGraph
    device_cell: jax.Array
    reference_energies: np.ndarray
    reach: float
    images: np.ndarray
    inverse: np.ndarray
    start: np.ndarray

    @classmethod
    def around(
        cls,
        atoms: ase.Atoms,
        structure: Structure,
        graph: AtomGraph,
        reference_energies: np.ndarray,
        reach: float,
    ) -> "Neighborhood":
        """Return the list of a structure.

        Args:
            atoms: it; must not be changed afterwards.
            structure: the same, prepared with lists that reach farther than the cutoff.
            graph: its padded graph, on the device.
            reference_energies: (N,) eV.
            reach: Å the lists reach beyond the cutoff.
        """
        inverse = np.zeros((3, 3))
        inverse[:, atoms.pbc] = np.linalg.pinv(structure.cell[atoms.pbc])
        images = np.rint((atoms.positions - structure.positions) @ inverse)
        return cls(
            atoms,
            conditions_of(atoms),
            structure.charge,
            structure.spin,
            graph,
            graph.cell[0],
            reference_energies,
            reach,
            images,
            inverse,
            _local_positions(atoms.positions, images, atoms.cell.array),
        )

    def local_positions(self, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Return (N, 3) positions the graph's shifts refer to, relative to their mean, Å."""
        return _local_positions(positions, self.images, cell)

    def covers(self, atoms: ase.Atoms, cutoff: float) -> bool:
        """Tell whether the list still holds every pair within the cutoff, and every wave.

        With F the deformation of the lattice and u what atoms moved besides, a vector v became
        vF + u_j − u_i. One not in the list was at least cutoff + reach long, and is now at least
        σ_min(F)·(cutoff + reach) − 2 max|u| long. u leaves out what all atoms moved together.
        """
        before, now = self.atoms, atoms.cell.array
        affine, shrinkage = self.start, 1.0
        if conditions_of(atoms) != self.conditions:
            if (
                len(atoms) != len(before)
                or (atoms.numbers != before.numbers).any()
                or (atoms.pbc != before.pbc).any()
                or total_charge(atoms) != self.charge
                or (self.spin and spin_multiplicity(atoms) != self.spin)
                or (self.graph.initial_charges is not None and not same_charges(atoms, before))
            ):
                return False
            if not np.isfinite(now).all():
                return False
            deformation = np.eye(3) + self.inverse @ (now - before.cell.array)
            stretches = np.linalg.svd(deformation, compute_uv=False)
            if self.graph.waves is not None and stretches[0] > STRETCH:
                return False
            shrinkage = stretches[-1]
            affine = affine @ deformation
        if len(atoms) == 0:
            return True
        # Infinite positions are not covered, and refused where the new list is made.
        with np.errstate(invalid="ignore"):
            moved = self.local_positions(atoms.positions, now) - affine
        farthest = np.sqrt(np.maximum.reduce(np.add.reduce(moved * moved, axis=1)))
        return bool(shrinkage * (cutoff + self.reach) - 2 * farthest >= cutoff)


def _local_positions(positions: np.ndarray, images: np.ndarray, cell: np.ndarray) -> np.ndarray:
    # Relative to the mean of now: a molecule that has drifted far keeps its digits in float32.
    inside = positions - images @ cell
    return inside - np.add.reduce(inside, axis=0) / max(len(inside), 1)


def same_charges(atoms: ase.Atoms, before: ase.Atoms) -> bool:
    """Tell whether the initial charges are the same."""
    return np.array_equal(atoms.get_initial_charges(), before.get_initial_charges())
