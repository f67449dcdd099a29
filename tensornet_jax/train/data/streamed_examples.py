"""Examples that are made when they are asked for, so that none is held in memory."""

from collections.abc import Sequence

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.sources.source import Source
from tensornet_jax.train.data.datasets import ExampleMaker
from tensornet_jax.train.data.examples import Example, Sizes
from tensornet_jax.train.data.workers import Workers


class StreamedExamples:
    """Examples read from files, neighbors searched anew each time.

    Args:
        source: structures with labels.
        make: what they become.
        sizes: of the structures.
        workers: processes that make them; 0 makes them in the thread that asks.
    """

    def __init__(
        self,
        source: Sequence[LabelledStructure],
        make: ExampleMaker,
        sizes: Sizes,
        workers: int = 0,
    ):
        self._source, self._make, self.sizes = source, make, sizes
        self._workers = Workers(source, make, workers) if workers else None

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        return self._make(self._source[index])

    def many(self, indices: Sequence[int]) -> list[Example]:
        """Return several examples."""
        if self._workers is not None:
            return self._workers.make(indices)
        return [self[index] for index in indices]

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        source = self._source
        return source.source(index) if isinstance(source, Source) else source[index].source
