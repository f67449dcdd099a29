"""Atom types and units of LAMMPS, as a potential knows them."""

from collections.abc import Sequence

import numpy as np
from ase import units as ase_units
from ase.data import atomic_numbers
from jaxtyping import Int32

from tensornet_jax.graph.structure import species_of
from tensornet_jax.potential.potential import Potential

ENERGY_UNITS = {"metal": 1.0, "real": ase_units.kcal / ase_units.mol}
"""Energy units of LAMMPS in eV, by its `units`; lengths are Å in both."""


def species_of_types(
    potential: Potential, types: Sequence[str | None]
) -> Int32[np.ndarray, " types"]:
    """Return the index into the element table of each atom type, in order; −1 for None.

    Args:
        potential: that is to know the elements.
        types: chemical symbol of each atom type; None for a type without atoms.

    Raises:
        ValueError: no chemical symbol, or an element that the potential does not know.
    """
    unknown = [symbol for symbol in types if symbol is not None and symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no chemical symbol")
    species = np.full(len(types), -1, np.int32)
    for index, symbol in enumerate(types):
        if symbol is not None:
            numbers = np.array([atomic_numbers[symbol]])
            where = f" (atom type {index + 1})"
            species[index] = species_of(numbers, potential.elements.numbers, where)[0]
    return species
