"""What each training step came to: counted, logged, reported, and bounded where steps fail."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Int

from tensornet_jax.train.data.batches import TrainingBatches
from tensornet_jax.train.failure import TrainingError
from tensornet_jax.train.optimization.step import Scalars
from tensornet_jax.train.progress import Progress, RunningMeans
from tensornet_jax.train.reporting.reporter import Reporter, StepReport
from tensornet_jax.train.reporting.run_logs import RunLogs

REQUESTS = ("interrupted", "out_of_time")
"""What one process of several may ask of all; they answer at the same step."""


class StepLog:
    """Takes the scalars of every step, and reads them when the device is busy with the next one.

    Args:
        progress: of the run; its counts of steps are kept up to date.
        batches: the training batches.
        losses: columns of the training log with losses.
        logs: the logs of the run.
        reporter: is told of every step and every row.
        max_skipped: steps that may be skipped in the whole run.

    Attributes:
        requests: those that some process made with the last step that has been read.
    """

    def __init__(
        self,
        progress: Progress,
        batches: TrainingBatches,
        losses: Sequence[str],
        logs: RunLogs,
        reporter: Reporter,
        max_skipped: int,
    ):
        self._progress = progress
        self._batches = batches
        self._steps_per_epoch = batches.plan.steps_per_epoch
        self._losses = tuple(losses)
        self._logs = logs
        self._reporter = reporter
        self._max_skipped = max_skipped
        self.requests: frozenset[str] = frozenset()
        self._unread: tuple[int, Int[np.ndarray, " structures"], Scalars] | None = None

    def dispatched(self, indices: Int[np.ndarray, " structures"], scalars: Scalars) -> None:
        """Count a step that the device has been given.

        Args:
            indices: the structures of its batch.
            scalars: what it will have come to.

        Raises:
            TrainingError: with the step before, more steps than allowed were not finite.
        """
        self.read()
        self._progress.step += 1
        self._batches.count_padding(self._progress.padding, indices)
        self._unread = self._progress.step, indices, scalars

    def read(self) -> None:
        """Wait for the last step; count, log and report it.

        Raises:
            TrainingError: more steps than allowed were not finite.
        """
        if self._unread is None:
            return
        step, indices, scalars = self._unread
        self._unread = None
        values = {name: float(value) for name, value in jax.device_get(scalars).items()}
        skipped = bool(values.pop("skipped"))
        made = {name: values.pop(name) for name in REQUESTS if name in values}
        self.requests = frozenset(name for name, times in made.items() if times)
        if skipped:
            self._skipped(step, indices, values)
        else:
            self._progress.running.add(values)
        self._reporter.step(
            StepReport(
                step=step,
                epoch=step / self._steps_per_epoch,
                structures=len(indices),
                loss=values["loss"],
                gradient_norm=values["gradient_norm"],
                learning_rate=values["learning_rate"],
                skipped=skipped,
            )
        )
        if self._progress.skipped > self._max_skipped:
            raise TrainingError(
                f"{self._progress.skipped} steps had a loss or gradient that is not finite, more "
                f"than training.max_skipped_steps = {self._max_skipped}: skipped_steps.csv names "
                "their structures; remove them if they are wrong, or lower optimizer.learning_rate"
            )

    def write_row(self, seconds: float) -> None:
        """Write the means since the last row, given the wall time of the run so far."""
        self.read()
        running, progress = self._progress.running, self._progress
        row = {
            "epoch": progress.step / self._steps_per_epoch,
            "step": progress.step,
            "steps": running.steps,
            **{
                name: running.mean(name.removeprefix("loss_"))
                for name in (*self._losses, "gradient_norm", "learning_rate")
            },
            "skipped": progress.skipped,
            "seconds": seconds,
        }
        progress.running = RunningMeans()
        self._logs.train(row)
        self._reporter.train_row(row)

    def _skipped(
        self, step: int, indices: Int[np.ndarray, " structures"], values: Mapping[str, float]
    ) -> None:
        self._progress.skipped += 1
        sources = self._batches.sources(indices)
        row = {name: values[name] for name in ("loss", "gradient_norm")}
        self._logs.skipped({"step": step, "epoch": step / self._steps_per_epoch, **row}, sources)
        self._reporter.message(
            f"step {step} skipped: loss {values['loss']:.4g}, gradient norm "
            f"{values['gradient_norm']:.4g}; nothing was updated; structures: {sources}"
        )
