"""What follows from a validation: the best weights so far, the plateau schedule, a row of a log."""

from tensornet_jax.train.evaluation.errors import JointValidator
from tensornet_jax.train.optimization.plateau import Plateau
from tensornet_jax.train.reporting.reporter import Reporter
from tensornet_jax.train.reporting.run_logs import RunLogs
from tensornet_jax.train.run_state import RunState


class Validation:
    """Validates a run in between its steps.

    Args:
        validator: gives loss and errors.
        plateau: lowers the learning rate when the loss has stopped improving; None: nothing does.
        logs: the logs of the run.
        reporter: is told of every validation.

    Attributes:
        last_step: step of the last validation in this piece of the run, −1 before any.
    """

    def __init__(
        self, validator: JointValidator, plateau: Plateau | None, logs: RunLogs, reporter: Reporter
    ):
        self.last_step = -1
        self._validator = validator
        self._plateau = plateau
        self._logs = logs
        self._reporter = reporter

    @property
    def compilations(self) -> int:
        """How often predictions were compiled."""
        return self._validator.compilations

    def __call__(self, run: RunState, epoch: float, seconds: float) -> None:
        """Validate the run's averaged weights.

        Args:
            run: the state; its best weights, and the counters of validations, are kept up to date.
            epoch: epochs done.
            seconds: wall time of the run so far.
        """
        values = self._validator(run.train.evaluated)
        loss, progress = values["loss"], run.progress
        self.last_step = progress.step
        best = loss < progress.best_loss
        if best:
            progress.best_loss, progress.stale = loss, 0
            run.keep()
        else:
            progress.stale += 1
        if self._plateau is not None:
            lowered = self._plateau.update(progress.plateau, loss)
            if lowered.scale != progress.plateau.scale:
                self._reporter.message(
                    f"validation loss has stopped improving: learning rate × {lowered.scale:.3g}"
                )
            progress.plateau = lowered
        row = {
            "epoch": epoch,
            "step": progress.step,
            **values,
            "best": float(best),
            "learning_rate_scale": progress.plateau.scale,
            "seconds": seconds,
        }
        self._logs.validation(row)
        self._reporter.validation_row(row)
