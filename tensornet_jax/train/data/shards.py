"""Which structures of a batch go to which device, and the padded size that all shards share."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.graph.targets import Targets, batch_targets
from tensornet_jax.train.data.capacities import Capacities, costs_of
from tensornet_jax.train.data.examples import Sizes


def divide(costs: Float[np.ndarray, " structures"], num: int) -> list[Int[np.ndarray, " shard"]]:
    """Divide structures into shards of like cost: the longest first, each to the least loaded.

    This is LPT scheduling with at most ⌈M/num⌉ structures in a shard. The result depends on the
    costs alone.

    Args:
        costs: of each structure, in any unit.
        num: of shards.

    Returns:
        Places in `costs`, in ascending order, for each shard; those of few structures may be empty.

    References:
        R. L. Graham, SIAM J. Appl. Math. 17, 416 (1969); with limited numbers:
        L. Babel, H. Kellerer, V. Kotov, Math. Methods Oper. Res. 47, 59 (1998).
    """
    most = -(-len(costs) // num)
    loads = [(0.0, shard) for shard in range(num)]
    shards: list[list[int]] = [[] for _ in range(num)]
    for index in np.argsort(-costs, kind="stable").tolist():
        load, shard = heapq.heappop(loads)
        shards[shard].append(index)
        if len(shards[shard]) < most:
            heapq.heappush(loads, (load + float(costs[index]), shard))
    return [np.array(sorted(shard), np.int64) for shard in shards]


@dataclass(frozen=True)
class Shards:
    """How the batches of one data set are divided and padded.

    Attributes:
        num: shards of a batch.
        capacities: of one shard.
    """

    num: int
    capacities: Capacities

    @classmethod
    def choose(
        cls,
        sizes: Sizes,
        batch_size: int,
        examples: Sequence[np.ndarray],
        num: int = 1,
    ) -> "Shards":
        """Choose capacities for the shards of batches; see `Capacities.choose`.

        Args:
            sizes: of all structures.
            batch_size: the most structures in a whole batch.
            examples: indices of structures, for each of a fair number of batches.
            num: of shards.
        """
        if num == 1:
            return cls(1, Capacities.choose(sizes, batch_size, examples))
        costs = costs_of(sizes)
        # All shards are padded as the one that needs most.
        largest = [
            max((batch[own] for own in divide(costs[batch], num)), key=lambda own: costs[own].sum())
            for batch in examples
        ]
        return cls(num, Capacities.choose(sizes, -(-batch_size // num), largest))

    def of(self, indices: np.ndarray) -> tuple[list[np.ndarray], Capacity]:
        """Return the indices of each shard of a batch, and the capacity that holds any of them."""
        if self.num == 1:
            return [indices], self.capacities.of(indices)
        parts = [indices[own] for own in divide(self.capacities.costs[indices], self.num)]
        ladder = self.capacities.ladder
        return parts, ladder[max(ladder.index(self.capacities.of(part)) for part in parts)]


def shard_targets(
    targets: Sequence[Targets], capacity: Capacity, dtype: str, like: Targets
) -> Targets:
    """Return `batch_targets`, also of no structures: with the arrays of `like`, all missing."""
    if targets:
        return batch_targets(targets, capacity, dtype)
    one = batch_targets([like], capacity, dtype)

    def missing(label: np.ndarray) -> np.ndarray:
        return np.full_like(label, np.nan)

    return Targets(
        jax.tree.map(missing, one.structures),
        jax.tree.map(missing, one.atoms),
        jax.tree.map(np.zeros_like, one.weights),
    )
