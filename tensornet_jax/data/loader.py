"""Deterministic, resumable batches on grain: the order is a function of seed and step alone.

Resuming is therefore a matter of the step number; there is no iterator state to save.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import grain
import numpy as np

T = TypeVar("T")


class ShuffledBatches:
    """Index batches of an endless run over a data set, shuffled anew every epoch.

    `plan[step]` is a 1-D integer array of structure indices. Every epoch holds each structure
    exactly once; its last batch is smaller where batch_size does not divide num.
    """

    def __init__(self, num: int, batch_size: int, seed: int) -> None:
        """Plan batches of batch_size out of num structures; seed in 0 … 2³²−1."""
        if num < 1:
            raise ValueError("no structures to make batches of")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed is {seed}: it must be in 0 … 2³²−1")
        self.num = num
        self.batch_size = min(batch_size, num)
        self.seed = seed
        self._dataset = (
            grain.MapDataset.range(num).shuffle(seed=seed).batch(self.batch_size).repeat()
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the data."""
        return -(-self.num // self.batch_size)

    def __getitem__(self, step: int) -> np.ndarray:
        if step < 0:
            raise IndexError(f"step {step} is negative")
        return np.asarray(self._dataset[step], dtype=np.int64)

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """Return the batches of one epoch, counted from 0."""
        first = epoch * self.steps_per_epoch
        return [self[step] for step in range(first, first + self.steps_per_epoch)]


class MixedBatches:
    """Each batch of one plan together with one of another, whose structures are counted after.

    `plan[step]` is `first[step]` followed by `second[step]`, the latter plus `first.num`. Epochs
    are those of the first; the second goes through its own at its own pace.
    """

    def __init__(self, first: ShuffledBatches, second: ShuffledBatches) -> None:
        """Plan mixed batches."""
        self.first, self.second = first, second
        self.batch_size = first.batch_size + second.batch_size
        self.steps_per_epoch = first.steps_per_epoch

    def __getitem__(self, step: int) -> np.ndarray:
        return np.concatenate([self.first[step], self.first.num + self.second[step]])


class SideBySide:
    """Batches of several plans over one data set, which have as many structures each.

    `plan[step]` is that of the first plan, followed by those of the others.
    """

    def __init__(self, plans: Sequence[ShuffledBatches]) -> None:
        """Plan batches of plans that differ by their seeds alone."""
        self.plans = list(plans)
        self.batch_size = sum(plan.batch_size for plan in plans)
        self.steps_per_epoch = plans[0].steps_per_epoch

    def __getitem__(self, step: int) -> np.ndarray:
        return np.concatenate([plan[step] for plan in self.plans])


def batches(
    plan: ShuffledBatches | MixedBatches | SideBySide,
    start_step: int,
    num_steps: int,
    collate: Callable[[np.ndarray], T],
    prefetch: int = 2,
) -> Generator[tuple[int, np.ndarray, T], None, None]:
    """Yield (step, indices, collate(indices)) for steps from start_step on, in order.

    Args:
        plan: which structures make which batch.
        start_step: first step, e.g. the number of steps already done.
        num_steps: how many batches to yield.
        collate: indices → batch. Called in background threads, so it must not change anything.
        prefetch: batches made ahead of the consumer; 0 makes each one when it is asked for.

    Raises:
        Whatever collate raises, at the step that it belongs to.
    """

    def make(step: int) -> tuple[int, np.ndarray, T]:
        indices = plan[step]
        return step, indices, collate(indices)

    options = grain.ReadOptions(num_threads=min(prefetch, 2), prefetch_buffer_size=max(prefetch, 1))
    steps = grain.MapDataset.range(start_step, start_step + num_steps).map(make)
    iterator: Any = iter(steps.to_iter_dataset(options, allow_nones=True))
    try:
        yield from iterator
    finally:
        # The threads would otherwise outlive a consumer that stops early.
        iterator.close()
