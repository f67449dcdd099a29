"""Structures that are not held in memory, with what the section of their files says of them."""

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.sources.source import Source
from tensornet_jax.train.data.parts import of_section


class Section(Source):
    """The structures of a section, with its head and its weight.

    Args:
        source: the structures as their files have them.
        head: of the section, if it has one.
        weight: factor of the loss of its structures.
    """

    def __init__(self, source: Source, head: str | None, weight: float):
        self._source, self._head, self._weight = source, head, weight

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> LabelledStructure:
        """Read one structure.

        Raises:
            DataError: its file says that it has another head.
        """
        return of_section(self._source.read(index), self._head, self._weight)

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        return self._source.source(index)

    def tables(self) -> tuple[Source, ...]:
        """Return the files that this is made of."""
        return self._source.tables()

    def sections(self) -> list[tuple[str | None, int]]:
        """Return the head and the number of structures of this one."""
        return [(self._head, len(self))]
