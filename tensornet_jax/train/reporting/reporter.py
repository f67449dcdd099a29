"""What a run tells while it runs: a protocol whose methods do nothing until someone listens.

The package itself never prints. The command line shows a progress bar by deriving from Reporter;
TensorBoard and Weights & Biases (`trackers`) listen in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tensornet_jax.train.reporting.result import TrainingResult


@dataclass(frozen=True)
class RunStart:
    """What is known before the first step.

    Attributes:
        directory: the run directory.
        num_train: structures to train on.
        num_validation: structures to validate on.
        num_parameters: parameters that are trained.
        start_step: steps already done, not 0 for a resumed run.
        steps_per_epoch: steps in one epoch.
        num_steps: steps in the whole run.
        batch_size: structures per step.
        terms: the properties in the loss.
        device: what computes, e.g. "cpu" or "NVIDIA H100".
        num_replay: structures of the replay set, of which every batch gets some.
        tensors: units of the model's tensors, by name.
    """

    directory: str
    num_train: int
    num_validation: int
    num_parameters: int
    start_step: int
    steps_per_epoch: int
    num_steps: int
    batch_size: int
    terms: tuple[str, ...]
    device: str
    num_replay: int = 0
    tensors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepReport:
    """One optimization step.

    Attributes:
        step: steps done, this one included.
        epoch: epochs done, a whole number at the end of an epoch.
        structures: structures in this batch.
        loss: total loss of the batch; NaN or infinite when the step was skipped.
        gradient_norm: before clipping.
        learning_rate: used in this step.
        skipped: whether the step was skipped.
    """

    step: int
    epoch: float
    structures: int
    loss: float
    gradient_norm: float
    learning_rate: float
    skipped: bool


class Reporter:
    """Listens to a run and does nothing; derive and override what is wanted."""

    def message(self, text: str) -> None:
        """Take one line for the user."""

    def audit(self, lines: Sequence[str]) -> None:
        """Take the table that describes the data, before the first step."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Take how many of how many structures a pass over data has seen; often called.

        A total of 0 is not known; a pass has ended when both are the same.
        """

    def start(self, start: RunStart) -> None:
        """Take the sizes of the run, before the first step."""

    def step(self, report: StepReport) -> None:
        """Take the result of one step."""

    def train_row(self, row: Mapping[str, float]) -> None:
        """Take a row of log_train.csv, means over the steps since the row before."""

    def validation_row(self, row: Mapping[str, float]) -> None:
        """Take a row of log_validation.csv."""

    def finish(self, result: TrainingResult) -> None:
        """Take the result, after the report has been written."""

    def close(self) -> None:
        """Release what is held; called however the run ends."""


class Reporters(Reporter):
    """Passes everything on to several reporters in turn."""

    def __init__(self, reporters: Sequence[Reporter]):
        self._reporters = tuple(reporters)

    def message(self, text: str) -> None:
        """Pass a line on."""
        for reporter in self._reporters:
            reporter.message(text)

    def audit(self, lines: Sequence[str]) -> None:
        """Pass the audit on."""
        for reporter in self._reporters:
            reporter.audit(lines)

    def progress(self, what: str, done: int, total: int) -> None:
        """Pass on how far a pass over data is."""
        for reporter in self._reporters:
            reporter.progress(what, done, total)

    def start(self, start: RunStart) -> None:
        """Pass the start on."""
        for reporter in self._reporters:
            reporter.start(start)

    def step(self, report: StepReport) -> None:
        """Pass a step on."""
        for reporter in self._reporters:
            reporter.step(report)

    def train_row(self, row: Mapping[str, float]) -> None:
        """Pass a training row on."""
        for reporter in self._reporters:
            reporter.train_row(row)

    def validation_row(self, row: Mapping[str, float]) -> None:
        """Pass a validation row on."""
        for reporter in self._reporters:
            reporter.validation_row(row)

    def finish(self, result: TrainingResult) -> None:
        """Pass the result on."""
        for reporter in self._reporters:
            reporter.finish(result)

    def close(self) -> None:
        """Close all, even if one fails."""
        failures = []
        for reporter in self._reporters:
            try:
                reporter.close()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
