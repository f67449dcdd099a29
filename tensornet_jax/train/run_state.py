"""Everything that decides how a run goes on: what a checkpoint holds."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PyTree

from tensornet_jax.train.optimization.state import TrainState
from tensornet_jax.train.progress import Progress


@dataclass
class RunState:
    """Where a run stands.

    Attributes:
        train: on the device.
        best: the weights to be kept, on the host.
        progress: counters, on the host.
    """

    train: TrainState
    best: PyTree[np.ndarray]
    progress: Progress

    def keep(self) -> None:
        """Take the weights of this step for the best."""
        self.best = on_host(self.train.evaluated)
        self.progress.best_step = self.progress.step


def on_host(tree: PyTree) -> PyTree[np.ndarray]:
    """Return copies of arrays that no later step writes to."""
    # Copies: on CPU a view would share memory that the next, donating step writes to.
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)
