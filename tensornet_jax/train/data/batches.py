"""The batches of a run: which structures, padded to which size, new and replayed ones together."""

from itertools import pairwise

import jax
import numpy as np
from jaxtyping import Bool

from tensornet_jax.data.loader import MixedBatches, ShuffledBatches, SideBySide
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, shard_graph
from tensornet_jax.graph.targets import Targets
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.capacities import Padding
from tensornet_jax.train.data.examples import Example, Examples, JoinedExamples
from tensornet_jax.train.data.replay import Replay
from tensornet_jax.train.data.shards import Shards, shard_targets

# Batches looked at in choosing capacities. Their number does not depend on epochs, which a resumed
# run may change.
EXAMPLE_BATCHES = 200

Batch = tuple[AtomGraph[np.ndarray], Targets, Bool[np.ndarray, " structures"] | None]
"""A padded graph, its targets, and which of its structures are replayed, if any may be."""


class TrainingBatches:
    """The training structures of a run and the plan by which they are put together.

    Args:
        config: the resolved configuration.
        train: training structures.
        replay: a set of which every batch gets some.
        devices: that share every batch.
    """

    def __init__(
        self,
        config: RunConfig,
        train: Examples,
        replay: Replay | None,
        devices: Devices = ONE_DEVICE,
    ):
        self._own = devices.own
        self._dtype = config.dtype
        self._num_new = len(train)
        self._replay = replay
        self.plan: ShuffledBatches | MixedBatches | SideBySide
        self.plan = ShuffledBatches(len(train), config.training.batch_size, config.seed)
        self.examples: Examples = train
        if replay is not None:
            # Another seed, so that sets of like size do not meet in the same order every epoch.
            seed = (config.seed + 1) % 2**32
            again = ShuffledBatches(len(replay.train), replay.batch_size, seed)
            self.plan = MixedBatches(self.plan, again)
            self.examples = JoinedExamples(train, replay.train)
        first = [self.plan[step] for step in range(EXAMPLE_BATCHES)]
        self.shards = Shards.choose(self.examples.sizes, self.plan.batch_size, first, devices.count)
        self._committee = config.training.committee
        if self._committee is not None:
            seeds = [(config.seed + 2 * k) % 2**32 for k in range(self._committee)]
            size = config.training.batch_size
            self.plan = SideBySide([ShuffledBatches(len(train), size, seed) for seed in seeds])

    @property
    def structures_per_epoch(self) -> int:
        """Structures trained on in an epoch, replayed ones included."""
        again = self.plan.batch_size - self._batch_size_of_new
        return self._num_new + again * self.plan.steps_per_epoch

    @property
    def _batch_size_of_new(self) -> int:
        plan = self.plan
        return plan.first.batch_size if isinstance(plan, MixedBatches) else plan.batch_size

    def collate(self, indices: np.ndarray) -> list[Batch]:
        """Return the shards of a batch that the devices of this process take.

        Of a committee it is one, with a first axis of members.
        """
        if self._committee is not None:
            return [self._of_members(np.split(indices, self._committee))]
        parts, capacity = self.shards.of(indices)
        own = [parts[k] for k in self._own]
        # A shard without structures is made like one with the first of the batch.
        like = [] if all(len(part) for part in own) else [int(indices[0])]
        chosen = self.examples.many([*np.concatenate(own).tolist(), *like])
        ends = np.cumsum([0, *(len(part) for part in own)]).tolist()
        return [
            self._shard(part, chosen[start:end], capacity, chosen[-1])
            for part, (start, end) in zip(own, pairwise(ends), strict=True)
        ]

    def _of_members(self, parts: list[np.ndarray]) -> Batch:
        capacity = self._capacity_of(parts)
        batches = []
        for part in parts:
            chosen = self.examples.many(part.tolist())
            batches.append(self._shard(part, chosen, capacity, chosen[0]))
        return jax.tree.map(lambda *arrays: np.stack(arrays), *batches)

    def _capacity_of(self, parts: list[np.ndarray]) -> Capacity:
        """Return the capacity that holds the batch of any member."""
        ladder = self.shards.capacities.ladder
        found = [self.shards.capacities.of(part) for part in parts]
        return ladder[max(map(ladder.index, found))]

    def _shard(
        self, indices: np.ndarray, chosen: list[Example], capacity: Capacity, like: Example
    ) -> Batch:
        return (
            shard_graph([e.structure for e in chosen], capacity, self._dtype, like.structure),
            shard_targets([e.targets for e in chosen], capacity, self._dtype, like.targets),
            None if self._replay is None else self._replayed(indices, capacity),
        )

    def _replayed(self, indices: np.ndarray, capacity: Capacity) -> np.ndarray:
        replayed = np.zeros(capacity.graphs, bool)
        replayed[: len(indices)] = indices >= self._num_new
        return replayed

    def count_padding(self, padding: Padding, indices: np.ndarray) -> None:
        """Add what a batch was padded with."""
        if self._committee is not None:
            parts = np.split(indices, self._committee)
            capacity = self._capacity_of(parts)
        else:
            parts, capacity = self.shards.of(indices)
        for part in parts:
            padding.add(self.shards.capacities, part, capacity)

    def sources(self, indices: np.ndarray) -> str:
        """Return file and frame of the structures of a batch, between blanks."""
        return " ".join(self.examples.source(k) for k in indices.tolist())
