"""The atoms and atom types of a LAMMPS instance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tensornet_jax.graph.part import Lattice
from tensornet_jax.interop.lammps.ghosts import lattice_of
from tensornet_jax.interop.lammps.processes import Lammps
from tensornet_jax.interop.lammps.types import species_of_types
from tensornet_jax.potential.potential import Potential


class Atoms(NamedTuple):
    """Owned atoms of a process and then those of others, one of the ghosts of each.

    positions: Å.
    types: of LAMMPS, from 1.
    tags: their identities.
    num_owned: how many are owned.
    lattice: in which they repeat.
    """

    positions: Float[np.ndarray, "atoms 3"]
    types: Int[np.ndarray, " atoms"]
    tags: Int[np.ndarray, " atoms"]
    num_owned: int
    lattice: Lattice

    def are(self, others: "Atoms") -> bool:
        """Tell whether the same atoms are in the same places of the arrays."""
        return (
            self.num_owned == others.num_owned
            and np.array_equal(self.tags, others.tags)
            and np.array_equal(self.types, others.types)
        )


class AtomTypes(NamedTuple):
    """What the types of LAMMPS are.

    species: index into the element table by type from 1; −1 where there are no atoms.
    """

    species: Int[np.ndarray, " types"]

    @classmethod
    def of(cls, lmp: Lammps, potential: Potential, types: Sequence[str | None]) -> "AtomTypes":
        """Return the species of named types.

        Args:
            lmp: where the types are.
            potential: has the element table.
            types: chemical symbol of each, in order; None for one without atoms.

        Raises:
            ValueError: the wrong number of types, no symbol, or an element that is not known.
        """
        count = lmp.extract_setting("ntypes")
        if len(types) != count:
            raise ValueError(
                f"{len(types)} elements ({' '.join(map(str, types))}) for {count} atom types: name "
                "one for each type, in order"
            )
        # Types are numbered from 1.
        return cls(np.append(np.int32(-1), species_of_types(potential, types)))

    def species_of(self, atoms: Atoms) -> Int[np.ndarray, " atoms"]:
        """Return the species of atoms.

        Raises:
            ValueError: an atom has a type without an element.
        """
        species = self.species[atoms.types]
        if (species < 0).any():
            unnamed = np.unique(atoms.types[species < 0])
            raise ValueError(
                f"atoms have type {', '.join(map(str, unnamed))}, for which no element was given: "
                "name one for each type, in order"
            )
        return species


class AtomReader:
    """Reads the atoms of a process.

    Args:
        lmp: where they are.
        alone: whether it is the only process. Its ghosts are images of its own atoms.
    """

    def __init__(self, lmp: Lammps, *, alone: bool) -> None:
        self._lmp, self._alone = lmp, alone
        self._tags: np.ndarray | None = None
        self._rows: np.ndarray | slice = slice(0)

    def read(self) -> Atoms:
        """Return the atoms, in copies: LAMMPS may move its arrays.

        Raises:
            ValueError: two atoms have the same identity, or none has one.
        """
        owned, lattice = self._lmp.extract_setting("nlocal"), lattice_of(self._lmp)
        count = owned + (0 if self._alone else self.num_ghosts)
        if not count:
            none = np.zeros(0, np.int32)
            return Atoms(np.zeros((0, 3)), none, none, 0, lattice)
        tags = self._array("id", count)
        if self._tags is None or not np.array_equal(tags, self._tags):
            self._tags, self._rows = tags.copy(), _distinct(tags, owned)
        rows = self._rows
        positions, types = (np.array(self._array(name, count)[rows]) for name in ("x", "type"))
        return Atoms(positions, types, self._tags[rows], owned, lattice)

    @property
    def num_ghosts(self) -> int:
        """How many ghosts LAMMPS has on this process."""
        return self._lmp.extract_setting("nghost")

    def _array(self, name: str, count: int) -> np.ndarray:
        return self._lmp.numpy.extract_atom(name)[:count]


def _distinct(tags: Int[np.ndarray, " atoms"], owned: int) -> Int[np.ndarray, " distinct"]:
    """Return the first place of every identity, the owned atoms' first."""
    _, first = np.unique(tags, return_index=True)
    first.sort()
    if np.searchsorted(first, owned) < owned:
        raise ValueError(
            "atoms do not have ids of their own: leave atom_modify id yes, and give every atom "
            "another (reset_atoms id)"
        )
    return first
