"""The training loop: steps, validation, checkpoints, and the reasons to stop.

Everything that decides how the run goes on is in `RunState`, which is saved whole, so a resumed run
takes the very steps that the uninterrupted one would have taken. Wall time alone is not
reproducible: it only decides when to save and, if asked to, when to stop.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from tensornet_jax.data.loader import batches
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.checkpoint import CheckpointStore
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.runtime.processes import from_first, several_processes
from tensornet_jax.train.checkpoints import Checkpoints, Publish
from tensornet_jax.train.config.run import LossTerm, RunConfig
from tensornet_jax.train.data.batches import Batch, TrainingBatches
from tensornet_jax.train.evaluation.errors import JointValidator
from tensornet_jax.train.failure import TrainingError
from tensornet_jax.train.optimization.optimization import Optimization
from tensornet_jax.train.optimization.plateau import Plateau
from tensornet_jax.train.optimization.tables import tables_by_name, tables_of
from tensornet_jax.train.outcome import Outcome, own_requests, reason_to_stop
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.reporting.reporter import Reporter
from tensornet_jax.train.reporting.run_logs import RunLogs
from tensornet_jax.train.run_directory import RunDirectory
from tensornet_jax.train.run_examples import RunExamples
from tensornet_jax.train.run_state import RunState, on_host
from tensornet_jax.train.step_log import REQUESTS, StepLog
from tensornet_jax.train.stop_signals import StopSignals
from tensornet_jax.train.validation import Validation

# Seconds between checkpoints: at the end of an epoch, and in the midst of a long one.
SAVE_AT_EPOCH_END = 10.0
SAVE_WITHIN_EPOCH = 600.0
# Steps between rows of the training log in an epoch that is longer than this.
LOG_INTERVAL = 100


class TrainingLoop:
    """A run from its current step to its end.

    Args:
        config: the resolved configuration.
        potential: the potential before the first step; gives buffers, scale and `predict`.
        examples: the structures; without any to validate on, the last averaged weights are the
            best.
        terms: the loss terms that training structures have labels for.
        directory: the run directory, which exists.
        reporter: is told what happens.
        publish: takes the best averaged weights whenever they have changed since the last save.
        resume: continue from the newest intact checkpoint.
        devices: that share the work; every process runs the same loop, and they go in step.

    Attributes:
        state: where the run stands.
        batches: the training batches.
        steps_per_epoch: steps in one epoch.
        num_steps: steps in the whole run.
        num_trained: numbers that are trained.
    """

    def __init__(
        self,
        config: RunConfig,
        potential: Potential,
        examples: RunExamples,
        terms: Mapping[str, LossTerm],
        *,
        directory: RunDirectory,
        reporter: Reporter,
        publish: Publish,
        resume: bool,
        devices: Devices = ONE_DEVICE,
    ):
        self._config = config
        self._reporter = reporter
        self._devices = devices
        self.batches = TrainingBatches(config, examples.train, examples.replay, devices)
        self.steps_per_epoch = self.batches.plan.steps_per_epoch
        self.num_steps = config.training.epochs * self.steps_per_epoch
        self._checkpoints = Checkpoints(CheckpointStore(directory.checkpoints), publish)
        self._start(potential, examples, terms, resume)
        losses = ["loss", *(f"loss_{name}" for name in terms)]
        if examples.replay is not None:
            losses.append("loss_replay")
        validator = _validator(config, potential, examples, terms, devices)
        columns = None if validator is None else validator.columns
        progress = self.state.progress
        logs = RunLogs(directory, losses, columns, progress)
        skippable = config.training.max_skipped_steps
        self._steps = StepLog(progress, self.batches, losses, logs, reporter, skippable)
        self._validation = None
        if validator is not None:
            plateau = Plateau.from_config(config.optimizer)
            self._validation = Validation(validator, plateau, logs, reporter)
        self._began = time.monotonic()

    def _start(
        self,
        potential: Potential,
        examples: RunExamples,
        terms: Mapping[str, LossTerm],
        resume: bool,
    ) -> None:
        """Put the optimization together, and go to the first step or to that of a checkpoint."""
        params, progress = potential.variables["params"], Progress()
        if resume:
            progress.tables_by_shape = self._checkpoints.tables_by_shape()
        tables = tables_of(potential) if progress.tables_by_shape else tables_by_name(params)
        weight = examples.replay.weight if examples.replay else 1.0
        optimization = Optimization.from_config(
            self._config, potential, terms, self.steps_per_epoch, tables, weight, self._devices
        )
        self._step, self.num_trained = optimization.step, optimization.num_trained
        self.state = RunState(optimization.start, on_host(params), progress)
        found = self._checkpoints.restored(self.state, self._reporter.message) if resume else None
        if found is not None:
            self.state = found
            step = found.progress.step
            self._reporter.message(f"resumed at step {step} of {self.num_steps}")
        self.state.train = self._devices.everywhere(from_first(self.state.train))
        self.state.best = from_first(self.state.best)

    def run(self) -> Outcome:
        """Take steps until there is a reason to stop, and return the reason.

        A checkpoint of the last step is there afterwards, unless an exception is raised.

        Raises:
            TrainingError: more steps than allowed were not finite, or no validation was.
        """
        with StopSignals() as signals:
            # The errors of a model that is fine-tuned: it is the best until they become smaller.
            if self._config.start is not None and not self.state.progress.validation_rows:
                self._validate()
            outcome = self._reason_to_stop(signals)
            for indices, shards in self._batches_left() if outcome is None else ():
                self._take_step(indices, shards, self._requests(signals))
                position = self.state.progress.step % self.steps_per_epoch
                if position == 0:
                    self._end_epoch()
                elif position % LOG_INTERVAL == 0:
                    self._steps.write_row(self.seconds)
                if self._checkpoints.age > (SAVE_WITHIN_EPOCH if position else SAVE_AT_EPOCH_END):
                    self.save()
                outcome = self._reason_to_stop(signals)
                if outcome is not None:
                    break
            self._steps.read()
        self.save()
        if outcome == "time limit":
            # After the save: a run resumed with more time goes on as if it had not stopped here.
            self._validate_last_step()
        if outcome != "interrupted" and self.state.progress.best_step < 0:
            raise TrainingError(
                "no validation gave a finite loss: lower optimizer.learning_rate, and look for "
                "outliers in the data audit"
            )
        return outcome or "finished"

    @property
    def epoch(self) -> float:
        """Epochs done, a whole number at the end of each."""
        return self.state.progress.step / self.steps_per_epoch

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, earlier pieces included."""
        return self.state.progress.seconds + time.monotonic() - self._began

    @property
    def compilations(self) -> int:
        """Functions compiled for training and validation, in all pieces of the run."""
        validation = 0 if self._validation is None else self._validation.compilations
        return self.state.progress.compilations + self._step.compilations + validation

    def save(self) -> None:
        """Write a checkpoint of this very step, unless there is one."""
        self._steps.read()
        if self._validation is None:
            self.state.keep()
        self._checkpoints.save(self.state, self.seconds, self.compilations)

    def _batches_left(self) -> Iterator[tuple[Int[np.ndarray, " structures"], list[Batch]]]:
        done, collate = self.state.progress.step, self.batches.collate
        for _, indices, shards in batches(self.batches.plan, done, self.num_steps - done, collate):
            yield indices, shards

    def _take_step(
        self,
        indices: Int[np.ndarray, " structures"],
        shards: Sequence[Batch],
        own: Collection[str],
    ) -> None:
        """Take a step with a batch, and tell the other processes of the requests of this one."""
        requests = None
        if several_processes():
            made = {name: np.array(name in own, np.int32) for name in REQUESTS}
            requests = self._devices.shards([made] * len(shards))
        graph, targets, replayed = self._devices.shards(shards)
        scale = np.asarray(self.state.progress.plateau.scale, self._config.dtype)
        self.state.train, scalars = self._step(
            self.state.train, graph, targets, scale, replayed, requests
        )
        self._steps.dispatched(indices, scalars)

    def _end_epoch(self) -> None:
        self._steps.write_row(self.seconds)
        every, last = self._config.training.validate_every, self.num_steps
        if self.epoch % every == 0 or self.state.progress.step == last:
            self._validate()

    def _validate(self) -> None:
        if self._validation is not None:
            self._validation(self.state, self.epoch, self.seconds)

    def _validate_last_step(self) -> None:
        progress, validation = self.state.progress, self._validation
        if validation is not None and validation.last_step == progress.step:
            return
        if progress.running.steps:
            self._steps.write_row(self.seconds)
        self._validate()

    def _reason_to_stop(self, signals: StopSignals) -> Outcome | None:
        # Processes stop at the same step: each looks at what all have asked for.
        requests = self._steps.requests if several_processes() else self._requests(signals)
        progress, num_steps = self.state.progress, self.num_steps
        outcome = reason_to_stop(self._config.training, progress, num_steps, requests)
        if outcome == "interrupted":
            signal = signals.received or "a signal to another process"
            self._reporter.message(f"{signal}: saving and stopping")
        return outcome

    def _requests(self, signals: StopSignals) -> Collection[str]:
        return own_requests(self._config.training, signals, self.seconds)


def _validator(
    config: RunConfig,
    potential: Potential,
    examples: RunExamples,
    terms: Mapping[str, LossTerm],
    devices: Devices,
) -> JointValidator | None:
    """Return what computes the errors of validation; None without structures for it."""
    if not len(examples.validation):
        return None
    size = config.training.validation_batch_size
    return JointValidator(potential, examples.validation, examples.replay, terms, size, devices)
