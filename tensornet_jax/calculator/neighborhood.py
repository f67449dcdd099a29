"""A neighbor list on the device with a skin, and what tells how long it holds."""

from dataclasses import dataclass

import ase
import jax
import numpy as np
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.electrons import raw_state, spin_multiplicity, total_charge
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.verlet_list import (
    OneStructure,
    VerletSkin,
    exact_stretch,
    periodic_inverse,
)

Conditions = tuple[object, ...]


def within(tol: float, new: np.ndarray, old: np.ndarray) -> bool:
    """Tell whether no number differs by more than `tol`."""
    # Written so that NaN counts as a change; for why numpy's ufuncs see `OneStructure`.
    return bool(np.maximum.reduce(np.abs(new - old), axis=None, initial=0.0) <= tol)


def conditions_of(atoms: ase.Atoms) -> Conditions:
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
    device_cell: its cell, on the device, Å.
    reference_energies: eV.
    images: lattice vectors taken off each position so that it lies in the cell.
    skin: how far the list reaches, and the positions within the cell that it was made for.
    """

    atoms: ase.Atoms
    conditions: Conditions
    charge: float
    spin: int
    graph: AtomGraph
    device_cell: Float[jax.Array, "3 3"]
    reference_energies: Float[np.ndarray, " atoms"]
    images: Float[np.ndarray, "atoms 3"]
    skin: VerletSkin[np.ndarray]

    @classmethod
    def around(
        cls,
        atoms: ase.Atoms,
        structure: Structure,
        graph: AtomGraph,
        reference_energies: Float[np.ndarray, " atoms"],
        reach: float,
    ) -> "Neighborhood":
        """Return the list of a structure.

        Args:
            atoms: it; must not be changed afterwards.
            structure: the same, prepared with lists that reach farther than the cutoff.
            graph: its padded graph, on the device.
            reference_energies: eV.
            reach: Å the lists reach beyond the cutoff.
        """
        cell, inverse = atoms.cell.array, periodic_inverse(structure.cell, structure.pbc)
        images = np.rint((atoms.positions - structure.positions) @ inverse)
        inside = atoms.positions - images @ cell
        return cls(
            atoms,
            conditions_of(atoms),
            structure.charge,
            structure.spin,
            graph,
            graph.cell[0],
            reference_energies,
            images,
            VerletSkin(inside, cell[None], inverse[None], np.array([reach])),
        )

    def local_positions(
        self, positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"]
    ) -> Float[np.ndarray, "atoms 3"]:
        """Return positions that the graph's shifts refer to, relative to their mean, Å."""
        # Relative to the mean of now: a molecule that has drifted far keeps its digits in float32.
        inside = positions - self.images @ cell
        return inside - np.add.reduce(inside, axis=0) / max(len(inside), 1)

    def covers(self, atoms: ase.Atoms, cutoff: float) -> bool:
        """Tell whether the list still holds every pair within the cutoff, and every wave.

        See `graph.verlet_list` for the criterion.
        """
        cell, stretch = atoms.cell.array, None
        if conditions_of(atoms) != self.conditions:
            if not (self._is_for(atoms) and np.isfinite(cell).all()):
                return False
            stretch = exact_stretch(self.skin.strain(cell[None]))
        # Infinite positions are not covered, and refused where the new list is made.
        with np.errstate(invalid="ignore"):
            inside = atoms.positions - self.images @ cell
            k_vectors = self.graph.k_vectors is not None
            left = self.skin.left(OneStructure(), inside, cutoff, stretch, k_vectors=k_vectors)
        return bool(left.skin[0] >= 0)

    def _is_for(self, atoms: ase.Atoms) -> bool:
        before = self.atoms
        return (
            len(atoms) == len(before)
            and np.array_equal(atoms.numbers, before.numbers)
            and np.array_equal(atoms.pbc, before.pbc)
            and total_charge(atoms) == self.charge
            and (not self.spin or spin_multiplicity(atoms) == self.spin)
            and (self.graph.initial_charges is None or same_charges(atoms, before))
        )


def same_charges(atoms: ase.Atoms, before: ase.Atoms) -> bool:
    """Tell whether the initial charges are the same."""
    return np.array_equal(atoms.get_initial_charges(), before.get_initial_charges())
