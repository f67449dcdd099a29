"""What gives structures by index: files that are read piece by piece, parts and sums of them."""

import bisect
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from jaxtyping import Int

from tensornet_jax.data.labelled_structure import LabelledStructure

IndexArray = Int[np.ndarray, " indices"]


class Source(Sequence[LabelledStructure]):
    """Structures with labels by index, each read when it is asked for.

    Several threads may ask at once. What goes through all of them, such as a loop, holds one at a
    time.
    """

    @abstractmethod
    def read(self, index: int) -> LabelledStructure:
        """Read one structure.

        Args:
            index: from 0 to the length less 1.

        Raises:
            ValueError: the file is damaged, or the structure or its labels cannot be used; the
                message names file and frame.
        """

    @abstractmethod
    def source(self, index: int) -> str:
        """Return file and frame of a structure, without reading it."""

    def tables(self) -> tuple["Source", ...]:
        """Return the files that this is made of, in their order."""
        return (self,)

    def sections(self) -> list[tuple[str | None, int]]:
        """Return the head and the number of structures of each section, in their order."""
        return [(None, len(self))]

    def places_of(self, head: str) -> "Ranges":
        """Return the indices of all structures in sections of a head, without reading any."""
        sections = self.sections()
        ends = np.cumsum([count for _, count in sections]).tolist()
        return Ranges(
            [
                (end - count, end)
                for (own, count), end in zip(sections, ends, strict=True)
                if own == head
            ]
        )

    def of_head(self, head: str) -> "Source":
        """Return the structures in sections of a head."""
        return Chosen(self, self.places_of(head))

    @overload
    def __getitem__(self, index: int) -> LabelledStructure: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledStructure]: ...
    def __getitem__(self, index: int | slice) -> LabelledStructure | list[LabelledStructure]:
        if isinstance(index, slice):
            return [self.read(k) for k in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"structure {index} of {len(self)}")
        return self.read(place)

    def __iter__(self) -> Iterator[LabelledStructure]:
        return (self.read(index) for index in range(len(self)))


class Held(Source):
    """Structures in memory."""

    def __init__(self, structures: Sequence[LabelledStructure]):
        self._structures = structures

    def __len__(self) -> int:
        return len(self._structures)

    def read(self, index: int) -> LabelledStructure:
        """Return one structure."""
        return self._structures[index]

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        return self._structures[index].source


class Joined(Source):
    """The structures of several sources, one after the other."""

    def __init__(self, sources: Sequence[Source]):
        self._sources = tuple(sources)
        self._ends = np.cumsum([len(each) for each in self._sources]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, index: int) -> LabelledStructure:
        """Read one structure."""
        source, place = self._place(index)
        return source.read(place)

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        source, place = self._place(index)
        return source.source(place)

    def tables(self) -> tuple[Source, ...]:
        """Return the files that this is made of."""
        return tuple(table for source in self._sources for table in source.tables())

    def sections(self) -> list[tuple[str | None, int]]:
        """Return those of the sources."""
        return [section for source in self._sources for section in source.sections()]

    def _place(self, index: int) -> tuple[Source, int]:
        which = bisect.bisect_right(self._ends, index)
        return self._sources[which], index - (self._ends[which - 1] if which else 0)


class Chosen(Source):
    """Some structures of a source, in a given order.

    Args:
        source: the source.
        indices: into it; all that is held of them is this.
    """

    def __init__(self, source: Source, indices: "IndexArray | Rest | Ranges"):
        self._source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> LabelledStructure:
        """Read one structure."""
        return self._source.read(int(self.indices[index]))

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        return self._source.source(int(self.indices[index]))

    def sections(self) -> list[tuple[str | None, int]]:
        """Return what is chosen of each section of the source.

        Raises:
            ValueError: the source has several, and the indices do not ascend.
        """
        sections = self._source.sections()
        if len(sections) == 1:
            return [(sections[0][0], len(self))]
        below = [self._below(end) for end in np.cumsum([n for _, n in sections]).tolist()]
        counts = np.diff([0, *below]).tolist()
        return [(head, count) for (head, _), count in zip(sections, counts, strict=True)]

    def _below(self, number: int) -> int:
        if not isinstance(self.indices, np.ndarray):
            return self.indices.below(number)
        if (np.diff(self.indices) <= 0).any():
            raise ValueError("structures that are chosen of several sections have to ascend")
        return int(np.searchsorted(self.indices, number))


class Ranges:
    """The numbers of ranges that ascend and do not overlap, one range after the other.

    Args:
        ranges: first number, and the one after the last.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]]):
        bounds = np.array(ranges, np.int64).reshape(-1, 2)
        self._starts, self._counts = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        self._ends = np.cumsum(self._counts)

    def __len__(self) -> int:
        return int(self._counts.sum())

    def __getitem__(self, place: int | IndexArray) -> int | IndexArray:
        which = np.searchsorted(self._ends, place, side="right")
        return self._starts[which] + place - (self._ends - self._counts)[which]

    def below(self, number: int) -> int:
        """Return how many of them are less than a number."""
        return int(np.clip(number - self._starts, 0, self._counts).sum())


class Rest:
    """The numbers from 0 to num − 1 without some, ascending; only those left out are held.

    Args:
        num: how many there are.
        without: ascending, none twice.
    """

    def __init__(self, num: int, without: IndexArray):
        self._num = num
        self._without = np.asarray(without, np.int64)
        # How many numbers that are kept lie below each that is not.
        self._below = self._without - np.arange(len(self._without))

    def __len__(self) -> int:
        return self._num - len(self._without)

    def __getitem__(self, place: int | IndexArray) -> int | IndexArray:
        return place + np.searchsorted(self._below, place, side="right")

    def below(self, number: int) -> int:
        """Return how many of them are less than a number that is not above `num`."""
        return number - int(np.searchsorted(self._without, number))


def evenly(count: int, most: int) -> IndexArray:
    """Return at most `most` of the indices below `count`, evenly spaced; all if there are fewer."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)
