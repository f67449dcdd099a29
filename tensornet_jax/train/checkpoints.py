"""When a run's state is saved and read back, and its best weights are made public."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from tensornet_jax.runtime.checkpoint import CheckpointStore
from tensornet_jax.runtime.processes import is_first
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.run_state import RunState

Publish = Callable[[RunState], None]


class Checkpoints:
    """The checkpoints of a run.

    Args:
        store: where they are.
        publish: takes the best weights whenever they have changed since the last save.
    """

    def __init__(self, store: CheckpointStore, publish: Publish):
        self._store = store
        self._publish = publish
        self._saved_step = self._published_step = -1
        self._saved_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last save, or since the start of this piece of the run."""
        return time.monotonic() - self._saved_at

    def tables_by_shape(self) -> bool:
        """Return whether the run to be resumed tells tables of elements by their shapes."""
        former = self._store.newest_progress()
        return former is None or Progress.from_json(former).tables_by_shape

    def restored(self, run: RunState, message: Callable[[str], None]) -> RunState | None:
        """Return the newest intact state, None where there is none at all.

        Args:
            run: the state before the first step, whose arrays give shapes and dtypes.
            message: is told of checkpoints that are damaged.

        Raises:
            CheckpointError: no checkpoint can be used.
        """
        found = self._store.restore({"train": run.train, "best": run.best}, message)
        if found is None:
            return None
        self._saved_step = found.step
        state = jax.tree.map(jnp.array, found.state["train"])
        return RunState(state, found.state["best"], Progress.from_json(found.progress))

    def save(self, run: RunState, seconds: float, compilations: int) -> None:
        """Write a checkpoint of this very step, unless there is one; the first process does.

        Args:
            run: the state.
            seconds: wall time of the run so far, earlier pieces included.
            compilations: the same of functions compiled.
        """
        step = run.progress.step
        if self._saved_step == step:
            return
        record = run.progress.to_json() | {"seconds": seconds, "compilations": compilations}
        if is_first():
            self._store.save(step, {"train": run.train, "best": run.best}, record)
        self._saved_step, self._saved_at = step, time.monotonic()
        if is_first() and self._published_step != run.progress.best_step:
            self._publish(run)
            self._published_step = run.progress.best_step
