"""The atoms and atom types of a LAMMPS instance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tensornet_jax.interop.lammps.processes import Lammps
from tensornet_jax.interop.lammps.types import species_of_types
from tensornet_jax.potential.potential import Potential


class Atoms(NamedTuple):
    """Owned atoms and then ghosts of a process.

    positions: Å.
    types: of LAMMPS, from 1.
    tags: their identities.
    num_owned: how many are owned.
    """

    positions: Float[np.ndarray, "atoms 3"]
    types: Int[np.ndarray, " atoms"]
    tags: Int[np.ndarray, " atoms"]
    num_owned: int

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


def atoms_of(lmp: Lammps) -> Atoms:
    """Return the atoms of this process, in copies: LAMMPS may move its arrays."""

    def array(name: str) -> np.ndarray:
        found = lmp.numpy.extract_atom(name)
        return np.array(found)[:count]

    owned = lmp.extract_setting("nlocal")
    count = owned + lmp.extract_setting("nghost")
    if not count:
        none = np.zeros(0, np.int32)
        return Atoms(np.zeros((0, 3)), none, none, 0)
    return Atoms(array("x"), array("type"), array("id"), owned)
