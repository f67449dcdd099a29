"""The elements of a model and the energies of their isolated atoms."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int


@dataclass(frozen=True)
class ElementTable:
    """The elements of a model and the energies of their isolated atoms.

    numbers: atomic numbers; the position in the tuple is the species index.
    reference_energies: (S,) float64 eV; (H, S) of a potential with several heads, a row a head, NaN
        where a head does not know the element.
    """

    numbers: tuple[int, ...]
    reference_energies: np.ndarray

    def __post_init__(self) -> None:
        energies = np.array(self.reference_energies, np.float64)
        if len(set(self.numbers)) != len(self.numbers):
            raise ValueError(f"element table {self.numbers} names an element twice")
        whole = np.isfinite(energies).all() if energies.ndim == 1 else ~np.isinf(energies).any()
        if energies.ndim not in (1, 2) or energies.shape[-1] != len(self.numbers) or not whole:
            raise ValueError(
                f"{len(self.numbers)} elements need as many finite reference energies, "
                f"got {energies.tolist()}"
            )
        object.__setattr__(self, "reference_energies", energies)

    def energies_of(
        self, species: Int[np.ndarray, " atoms"], head: int | None = None, where: str = ""
    ) -> Float[np.ndarray, " atoms"]:
        """Return the reference energy of each atom, eV.

        Args:
            species: places in the table.
            head: place of a head, of a potential that has several.
            where: how messages name the structure.

        Raises:
            ValueError: the head does not know an element.
        """
        table = self.reference_energies if head is None else self.reference_energies[head]
        if table.ndim != 1:
            raise ValueError("reference energies of several heads: say which one")
        energies = table[species]
        if np.isnan(energies).any():
            unknown = sorted({self.symbols[k] for k in species[np.isnan(energies)].tolist()})
            raise ValueError(
                f"the head has no reference energy of {', '.join(unknown)}{where}, which none of "
                "its training structures had: choose another head, or leave such structures out"
            )
        return energies

    def of_head(self, head: int) -> "ElementTable":
        """Return the elements that one of several heads knows, with its energies."""
        energies = self.reference_energies[head]
        known = np.flatnonzero(~np.isnan(energies)).tolist()
        return ElementTable(tuple(self.numbers[k] for k in known), energies[known])

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the table."""
        return tuple(chemical_symbols[number] for number in self.numbers)
