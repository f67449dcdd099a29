"""How a run ends, and what there is at a step that would end it."""

from collections.abc import Collection
from typing import Literal

from tensornet_jax.train.config.run import TrainingConfig
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.stop_signals import StopSignals

Outcome = Literal["finished", "early stopping", "time limit", "interrupted"]


def own_requests(training: TrainingConfig, signals: StopSignals, seconds: float) -> Collection[str]:
    """Return what this process alone knows of reasons to stop, some of `step_log.REQUESTS`.

    Args:
        training: limits of the run.
        signals: received so far.
        seconds: wall time of the run.
    """
    out_of_time = training.max_minutes is not None and seconds > 60 * training.max_minutes
    made = {"interrupted": signals.received is not None, "out_of_time": out_of_time}
    return [name for name, is_made in made.items() if is_made]


def reason_to_stop(
    training: TrainingConfig, progress: Progress, num_steps: int, requests: Collection[str]
) -> Outcome | None:
    """Return why a run ends at the step it has come to; None where it goes on.

    Args:
        training: limits of the run.
        progress: how far it is.
        num_steps: steps of the whole run.
        requests: of this process, or of all that share the run.
    """
    if "interrupted" in requests:
        return "interrupted"
    if progress.step >= num_steps:
        return "finished"
    if training.patience is not None and progress.stale >= training.patience:
        return "early stopping"
    return "time limit" if "out_of_time" in requests else None
