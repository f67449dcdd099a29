"""The elements of a model and the energies of their isolated atoms."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols


@dataclass(frozen=True)
class ElementTable:
    """The elements of a model and the energies of their isolated atoms.

    numbers: atomic numbers; the position in the tuple is the species index.
    reference_energies: (S,) float64 eV.
    """

    numbers: tuple[int, ...]
    reference_energies: np.ndarray

    def __post_init__(self) -> None:
        energies = np.array(self.reference_energies, np.float64)
        if len(set(self.numbers)) != len(self.numbers):
            raise ValueError(f"element table {self.numbers} names an element twice")
        if energies.shape != (len(self.numbers),) or not np.isfinite(energies).all():
            raise ValueError(
                f"{len(self.numbers)} elements need as many finite reference energies, "
                f"got {energies.tolist()}"
            )
        object.__setattr__(self, "reference_energies", energies)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the table."""
        return tuple(chemical_symbols[number] for number in self.numbers)
