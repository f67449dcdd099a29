"""What a pass finds in files that are not trained on."""

from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.data.auditing.tally import digest_of
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import is_isolated_atom
from tensornet_jax.data.references_by_head import References, about_head, table_of
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.survey import sizes_in


@dataclass
class OtherSet:
    """What a pass found in files that are not trained on.

    Attributes:
        table: sizes of each structure, zeros where they were not asked for.
        labelled: names of labels, in the order in which they came.
        isolated: indices of isolated atoms.
        first: a structure with each element, by atomic number, of each head; without several all
            under "".
        digests: of all structures but isolated atoms, by head too.
    """

    table: np.ndarray
    labelled: dict[str, None] = field(default_factory=dict)
    isolated: list[int] = field(default_factory=list)
    first: dict[str, dict[int, str]] = field(default_factory=dict)
    digests: dict[str, "array[int]"] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        structures: Iterable[LabelledStructure],
        count: int,
        sizes_for: ModelConfig | None,
        heads: Collection[str] = (),
    ) -> "OtherSet":
        """Look at all structures of a set.

        Args:
            structures: of the set.
            count: how many there are.
            sizes_for: the model whose arrays are to hold them; None does not ask for sizes.
            heads: of the structures, if the model has several.
        """
        found = cls(np.zeros((count, 9), np.int32))
        for index, structure in enumerate(structures):
            if is_isolated_atom(structure):
                found.isolated.append(index)
                continue
            if sizes_for is not None:
                found.table[index] = sizes_in(structure, sizes_for)
            found.labelled |= dict.fromkeys(structure.labels)
            head = str(structure.head) if heads else ""
            found.digests.setdefault(head, array("Q")).append(digest_of(structure))
            first = found.first.setdefault(head, {})
            for number in structure.numbers.tolist():
                first.setdefault(number, structure.source)
        return found

    def check_elements(self, name: str, references: References) -> None:
        """Raise DataError if an element has no reference energy.

        Args:
            name: of the set.
            references: energies of isolated atoms.
        """
        for head, first in self.first.items():
            for number in sorted(set(first) - set(table_of(references, head).numbers)):
                raise DataError(
                    f"{name} set, {first[number]}: {about_head(head)}no reference energy for "
                    f"{chemical_symbols[number]}: train on structures with this element, or leave "
                    "this one out"
                )
