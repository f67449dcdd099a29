"""Reference energies of data sets of several levels of theory, each with a head of its own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.data.sources.source import Source
from tensornet_jax.runtime.sealed_file import Json


@dataclass(frozen=True)
class HeadReferences:
    """Reference energies of each head.

    Attributes:
        heads: their names.
        tables: of each.
    """

    heads: tuple[str, ...]
    tables: tuple[ReferenceEnergies, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers of all heads, ascending."""
        return tuple(sorted({number for table in self.tables for number in table.numbers}))

    @cached_property
    def energies(self) -> Float[np.ndarray, "heads elements"]:
        """Energies in eV, NaN where a head does not know an element."""
        rows = [dict(zip(table.numbers, table.energies, strict=True)) for table in self.tables]
        return np.array([[row.get(number, np.nan) for number in self.numbers] for row in rows])

    def of_head(self, head: str) -> ReferenceEnergies:
        """Return the table of one head."""
        return self.tables[self.heads.index(head)]

    def of_structure(self, structure: LabelledStructure) -> float:
        """Return the sum of reference energies of a structure in eV.

        Raises:
            ValueError: the structure has no head of these, or the head does not know an element.
        """
        if structure.head not in self.heads:
            raise ValueError(
                f"head {structure.head} is none of {', '.join(self.heads)}: correct it"
            )
        try:
            return self.of_head(structure.head).of(structure.numbers)
        except ValueError as error:
            raise ValueError(f"head {structure.head}: {error}") from None


References: TypeAlias = ReferenceEnergies | HeadReferences
"""Of a run whose model has one head or several."""


def by_head(
    structures: Sequence[LabelledStructure], references: References
) -> dict[str, Sequence[LabelledStructure]]:
    """Return the structures of each head that has some; of a run without several all under "".

    Args:
        structures: of a set; of one that is not held in memory the sections say which head they
            have, and nothing is read.
        references: of the run.
    """
    if isinstance(references, ReferenceEnergies):
        return {"": structures}
    found: dict[str, Sequence[LabelledStructure]]
    if isinstance(structures, Source):
        found = {head: structures.of_head(head) for head in references.heads}
    else:
        found = {head: [s for s in structures if s.head == head] for head in references.heads}
    return {head: own for head, own in found.items() if len(own)}


def table_of(references: References, head: str) -> ReferenceEnergies:
    """Return the table of a head as `by_head` names it."""
    return references if isinstance(references, ReferenceEnergies) else references.of_head(head)


def about_head(head: str) -> str:
    """Return the beginning of a sentence about a head as `by_head` names it."""
    return f"head {head}: " if head else ""


def plain_references(references: References) -> Json:
    """Return reference energies as plain values."""
    if isinstance(references, HeadReferences):
        tables = zip(references.heads, references.tables, strict=True)
        return {"heads": {head: plain_references(table) for head, table in tables}}
    return asdict(references) | {"energies": references.energies.tolist()}


def read_references(plain: Json) -> References:
    """Return what `plain_references` was given."""
    heads = plain.get("heads")
    if heads is None:
        return read_table(plain)
    return HeadReferences(tuple(heads), tuple(read_table(each) for each in heads.values()))


def read_table(plain: Json) -> ReferenceEnergies:
    """Return the reference energies of one head that `plain_references` was given."""
    return ReferenceEnergies(
        numbers=tuple(plain["numbers"]),
        energies=np.array(plain["energies"], np.float64),
        source=plain["source"],
        rank=plain["rank"],
        undetermined=tuple(plain["undetermined"]),
    )
