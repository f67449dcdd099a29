"""What a pass finds in files that are not trained on."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.data.auditing.tally import digest_of
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import ReferenceEnergies, is_isolated_atom
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.survey import sizes_in


@dataclass
class OtherSet:
    """What a pass found in files that are not trained on.

    Attributes:
        table: sizes of each structure, zeros where they were not asked for.
        labelled: names of labels, in the order in which they came.
        first: a structure with each element, by atomic number.
        digests: of all structures but isolated atoms.
        isolated: indices of isolated atoms.
    """

    table: np.ndarray
    labelled: dict[str, None] = field(default_factory=dict)
    first: dict[int, str] = field(default_factory=dict)
    digests: list[int] = field(default_factory=list)
    isolated: list[int] = field(default_factory=list)

    @classmethod
    def of(
        cls, structures: Iterable[LabelledStructure], count: int, sizes_for: ModelConfig | None
    ) -> "OtherSet":
        """Look at all structures of a set.

        Args:
            structures: of the set.
            count: how many there are.
            sizes_for: the model whose arrays are to hold them; None does not ask for sizes.
        """
        found = cls(np.zeros((count, 9), np.int32))
        for index, structure in enumerate(structures):
            if is_isolated_atom(structure):
                found.isolated.append(index)
                continue
            if sizes_for is not None:
                found.table[index] = sizes_in(structure, sizes_for)
            found.labelled |= dict.fromkeys(structure.labels)
            found.digests.append(digest_of(structure))
            for number in structure.numbers.tolist():
                found.first.setdefault(number, structure.source)
        return found

    def check_elements(self, name: str, references: ReferenceEnergies) -> None:
        """Raise DataError if an element has no reference energy.

        Args:
            name: of the set.
            references: energies of isolated atoms.
        """
        for number in sorted(set(self.first) - set(references.numbers)):
            raise DataError(
                f"{name} set, {self.first[number]}: no reference energy for "
                f"{chemical_symbols[number]}: train on structures with this element, or leave this "
                "one out"
            )
