"""The batches of a run: which structures, padded to which size, new and replayed ones together."""

import numpy as np
from jaxtyping import Bool

from tensornet_jax.data.loader import MixedBatches, ShuffledBatches
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures
from tensornet_jax.graph.targets import Targets, batch_targets
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.capacities import Capacities
from tensornet_jax.train.data.examples import Examples, JoinedExamples
from tensornet_jax.train.data.replay import Replay

# Batches looked at in choosing capacities. Their number does not depend on epochs, which a resumed
# run may change.
EXAMPLE_BATCHES = 200

Batch = tuple[AtomGraph[np.ndarray], Targets, Bool[np.ndarray, " structures"] | None]


class TrainingBatches:
    """The training structures of a run and the plan by which they are put together.

    Args:
        config: the resolved configuration.
        train: training structures.
        replay: a set of which every batch gets some.
    """

    def __init__(self, config: RunConfig, train: Examples, replay: Replay | None):
        self._dtype = config.dtype
        self._num_new = len(train)
        self._replay = replay
        self.plan: ShuffledBatches | MixedBatches
        self.plan = ShuffledBatches(len(train), config.training.batch_size, config.seed)
        self.examples: Examples = train
        if replay is not None:
            # Another seed, so that sets of like size do not meet in the same order every epoch.
            seed = (config.seed + 1) % 2**32
            again = ShuffledBatches(len(replay.train), replay.batch_size, seed)
            self.plan = MixedBatches(self.plan, again)
            self.examples = JoinedExamples(train, replay.train)
        first = [self.plan[step] for step in range(EXAMPLE_BATCHES)]
        self.capacities = Capacities.choose(self.examples.sizes, self.plan.batch_size, first)

    @property
    def structures_per_epoch(self) -> int:
        """Structures trained on in an epoch, replayed ones included."""
        again = self.plan.batch_size - self._batch_size_of_new
        return self._num_new + again * self.plan.steps_per_epoch

    @property
    def _batch_size_of_new(self) -> int:
        plan = self.plan
        return plan.first.batch_size if isinstance(plan, MixedBatches) else plan.batch_size

    def collate(self, indices: np.ndarray) -> Batch:
        """Return the padded graph, its targets, and (B,) which structures are replayed, if any."""
        capacity = self.capacities.of(indices)
        chosen = self.examples.many(indices.tolist())
        return (
            batch_structures([each.structure for each in chosen], capacity, self._dtype),
            batch_targets([each.targets for each in chosen], capacity, self._dtype),
            None if self._replay is None else self._replayed(indices, capacity),
        )

    def _replayed(self, indices: np.ndarray, capacity: Capacity) -> np.ndarray:
        replayed = np.zeros(capacity.graphs, bool)
        replayed[: len(indices)] = indices >= self._num_new
        return replayed

    def sources(self, indices: np.ndarray) -> str:
        """Return file and frame of the structures of a batch, between blanks."""
        return " ".join(self.examples.source(k) for k in indices.tolist())
