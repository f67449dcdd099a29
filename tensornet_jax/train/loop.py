"""The training loop: steps, validation, checkpoints, and the reasons to stop.

Everything that decides how the run goes on is in `TrainState` and `Progress`, both saved together,
so a resumed run takes the very steps that the uninterrupted one would have taken. Wall time alone
is not reproducible: it only decides when to save and, if asked to, when to stop.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tensornet_jax.data.loader import batches
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.checkpoint import CheckpointStore
from tensornet_jax.train.config.run import LossTerm, RunConfig
from tensornet_jax.train.data.batches import Batch, TrainingBatches
from tensornet_jax.train.data.datasets import Examples
from tensornet_jax.train.data.replay import Replay
from tensornet_jax.train.evaluation.errors import JointValidator
from tensornet_jax.train.optimization.optimizer import (
    Plateau,
    learning_rate_schedule,
    make_optimizer,
)
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups
from tensornet_jax.train.optimization.state import TrainState
from tensornet_jax.train.optimization.step import TrainStep
from tensornet_jax.train.optimization.tables import tables_by_name, tables_of
from tensornet_jax.train.progress import Progress, StopSignals
from tensornet_jax.train.reporting.reporter import Reporter, StepReport
from tensornet_jax.train.reporting.run_logs import RunLogs

PyTree = Any
Outcome = Literal["finished", "early stopping", "time limit", "interrupted"]

# Seconds between checkpoints: at the end of an epoch, and in the midst of a long one.
SAVE_AT_EPOCH_END = 10.0
SAVE_WITHIN_EPOCH = 600.0
# Steps between rows of the training log in an epoch that is longer than this.
LOG_INTERVAL = 100


class TrainingError(RuntimeError):
    """A run that cannot go on; the text says why and what to try."""


class TrainingLoop:
    """A run from its current step to its end.

    Args:
        config: the resolved configuration.
        potential: the potential before the first step; gives buffers, scale and `predict`.
        train: training structures.
        validation: validation structures; without any, the last averaged weights are the best.
        terms: the loss terms that training structures have labels for.
        store: where checkpoints go.
        directory: the run directory, which exists.
        reporter: is told what happens.
        publish: takes the best averaged weights whenever they have changed since the last save.
        resume: continue from the newest intact checkpoint.
        replay: a set of which every batch gets some.
        trained_before: the potential has been trained: its errors are the first row of the
            validation log, and it stays the best until they become smaller.
    """

    def __init__(
        self,
        config: RunConfig,
        potential: Potential,
        train: Examples,
        validation: Examples,
        terms: Mapping[str, LossTerm],
        *,
        store: CheckpointStore,
        directory: Path,
        reporter: Reporter,
        publish: Callable[[PyTree, Progress], None],
        resume: bool,
        replay: Replay | None = None,
        trained_before: bool = False,
    ):
        self.config = config
        self.progress = Progress()
        self._terms = dict(terms)
        self._trained_before = trained_before
        self._store = store
        self._reporter = reporter
        self._publish = publish
        self.batches = TrainingBatches(config, train, replay)
        self.steps_per_epoch = self.batches.plan.steps_per_epoch
        self.num_steps = config.training.epochs * self.steps_per_epoch
        params = potential.variables["params"]
        groups = ParameterGroups.from_config(config.optimizer, params)
        self.num_trained = groups.count(params)
        schedule = learning_rate_schedule(config.optimizer, self.num_steps, self.steps_per_epoch)
        former = store.newest_progress() if resume else None
        if former is not None:
            self.progress.tables_by_shape = Progress.from_json(former).tables_by_shape
        tables = tables_of(potential) if self.progress.tables_by_shape else tables_by_name(params)
        optimizer = make_optimizer(config.optimizer, schedule, groups, tables)
        averaging = config.optimizer.ema_decay
        self._step = TrainStep(
            potential,
            self._terms,
            optimizer,
            schedule,
            averaging,
            groups,
            replay.weight if replay else 1.0,
        )
        self._plateau = Plateau.from_config(config.optimizer)
        self._losses = ["loss", *(f"loss_{name}" for name in terms)]
        if replay is not None:
            self._losses.append("loss_replay")
        self._validator = None
        if len(validation):
            self._validator = JointValidator(
                potential, validation, replay, terms, config.training.validation_batch_size
            )
        self.state = TrainState.create(
            params, optimizer, averaging=averaging is not None, groups=groups
        )
        self.best = _on_host(params)
        self._saved_step = self._validated_step = self._published_step = -1
        if resume:
            self._restore()
        columns = None if self._validator is None else self._validator.columns
        self._logs = RunLogs(directory, self._losses, columns, self.progress)
        self._began = self._saved_at = time.monotonic()
        self._unread: tuple[int, np.ndarray, dict[str, jax.Array]] | None = None

    def run(self) -> Outcome:
        """Take steps until there is a reason to stop, and return the reason.

        A checkpoint of the last step is there afterwards, unless an exception is raised.

        Raises:
            TrainingError: more steps than allowed were not finite, or no validation was.
        """
        with StopSignals() as signals:
            if self._trained_before and not self.progress.validation_rows:
                self._validate()
            outcome = self._reason_to_stop(signals)
            todo = self.num_steps - self.progress.step
            if outcome is None:
                for _, indices, batch in batches(
                    self.batches.plan, self.progress.step, todo, self.batches.collate
                ):
                    self._take_step(indices, batch)
                    outcome = self._reason_to_stop(signals)
                    if outcome is not None:
                        break
            self._read_scalars()
        self.save()
        if outcome == "interrupted":
            return outcome
        if outcome == "time limit" and self._validated_step != self.progress.step:
            # After the save: a run resumed with more time goes on as if it had not stopped here.
            if self.progress.running.steps:
                self._write_train_row()
            self._validate()
        if self.progress.best_step < 0:
            raise TrainingError(
                "no validation gave a finite loss: lower optimizer.learning_rate, and look for "
                "outliers in the data audit"
            )
        return outcome or "finished"

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, earlier pieces included."""
        return self.progress.seconds + time.monotonic() - self._began

    @property
    def compilations(self) -> tuple[int, int]:
        """Functions compiled in this piece of the run: training step, validation."""
        validator = self._validator
        return self._step.compilations, 0 if validator is None else validator.compilations

    def save(self) -> None:
        """Write a checkpoint of this very step, unless there is one."""
        self._read_scalars()
        if self._saved_step == self.progress.step:
            return
        if self._validator is None:
            self.best, self.progress.best_step = _on_host(self.state.evaluated), self.progress.step
        record = self.progress.to_json()
        record["seconds"] = self.seconds
        record["compilations"] = self.progress.compilations + sum(self.compilations)
        self._store.save(self.progress.step, {"train": self.state, "best": self.best}, record)
        self._saved_step = self.progress.step
        self._saved_at = time.monotonic()
        if self._published_step != self.progress.best_step:
            self._publish(self.best, self.progress)
            self._published_step = self.progress.best_step

    def _restore(self) -> None:
        template = {"train": self.state, "best": self.best}
        restored = self._store.restore(template, self._reporter.message)
        if restored is None:
            return
        self.state = jax.tree.map(jnp.array, restored.state["train"])
        self.best = restored.state["best"]
        self.progress = Progress.from_json(restored.progress)
        self._saved_step = restored.step
        self._reporter.message(f"resumed at step {restored.step} of {self.num_steps}")

    def _take_step(self, indices: np.ndarray, batch: Batch) -> None:
        graph, targets, replayed = batch
        scale = np.asarray(self.progress.plateau.scale, self.config.dtype)
        self.state, scalars = self._step(self.state, graph, targets, scale, replayed)
        # The scalars of the step before are read only now, while the device is busy with this one.
        self._read_scalars()
        self.progress.step += 1
        self.progress.padding.add(self.batches.capacities, indices)
        self._unread = self.progress.step, indices, scalars
        since_save = time.monotonic() - self._saved_at
        position = self.progress.step % self.steps_per_epoch
        if position == 0:
            self._end_epoch()
            if since_save > SAVE_AT_EPOCH_END:
                self.save()
        else:
            if position % LOG_INTERVAL == 0:
                self._write_train_row()
            if since_save > SAVE_WITHIN_EPOCH:
                self.save()

    def _end_epoch(self) -> None:
        self._write_train_row()
        epoch = self.progress.step // self.steps_per_epoch
        if epoch % self.config.training.validate_every == 0 or self.progress.step == self.num_steps:
            self._validate()

    def _read_scalars(self) -> None:
        """Fetch the scalars of the last step dispatched; count, log and bound skipped steps."""
        if self._unread is None:
            return
        step, indices, scalars = self._unread
        self._unread = None
        values = {name: float(value) for name, value in jax.device_get(scalars).items()}
        skipped = bool(values.pop("skipped"))
        if skipped:
            self._log_skipped(step, indices, values)
        else:
            self.progress.running.add(values)
        self._reporter.step(
            StepReport(
                step=step,
                epoch=step / self.steps_per_epoch,
                structures=len(indices),
                loss=values["loss"],
                gradient_norm=values["gradient_norm"],
                learning_rate=values["learning_rate"],
                skipped=skipped,
            )
        )
        allowed = self.config.training.max_skipped_steps
        if self.progress.skipped > allowed:
            raise TrainingError(
                f"{self.progress.skipped} steps had a loss or gradient that is not finite, more "
                f"than training.max_skipped_steps = {allowed}: skipped_steps.csv names their "
                "structures; remove them if they are wrong, or lower optimizer.learning_rate"
            )

    def _log_skipped(self, step: int, indices: np.ndarray, values: Mapping[str, float]) -> None:
        self.progress.skipped += 1
        sources = self.batches.sources(indices)
        row = {name: values[name] for name in ("loss", "gradient_norm")}
        self._logs.skipped({"step": step, "epoch": step / self.steps_per_epoch, **row}, sources)
        self._reporter.message(
            f"step {step} skipped: loss {values['loss']:.4g}, gradient norm "
            f"{values['gradient_norm']:.4g}; nothing was updated; structures: {sources}"
        )

    def _write_train_row(self) -> None:
        self._read_scalars()
        running, progress = self.progress.running, self.progress
        row = {
            "epoch": progress.step / self.steps_per_epoch,
            "step": progress.step,
            "steps": running.steps,
            **{
                name: running.mean(name.removeprefix("loss_"))
                for name in (*self._losses, "gradient_norm", "learning_rate")
            },
            "skipped": progress.skipped,
            "seconds": self.seconds,
        }
        progress.running = type(running)()
        self._logs.train(row)
        self._reporter.train_row(row)

    def _validate(self) -> None:
        if self._validator is None:
            return
        values = self._validator(self.state.evaluated)
        loss, progress = values["loss"], self.progress
        self._validated_step = progress.step
        best = loss < progress.best_loss
        if best:
            progress.best_loss, progress.best_step, progress.stale = loss, progress.step, 0
            self.best = _on_host(self.state.evaluated)
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
            "epoch": progress.step / self.steps_per_epoch,
            "step": progress.step,
            **values,
            "best": float(best),
            "learning_rate_scale": progress.plateau.scale,
            "seconds": self.seconds,
        }
        self._logs.validation(row)
        self._reporter.validation_row(row)

    def _reason_to_stop(self, signals: StopSignals) -> Outcome | None:
        training = self.config.training
        if signals.received is not None:
            self._reporter.message(f"{signals.received}: saving and stopping")
            return "interrupted"
        if self.progress.step >= self.num_steps:
            return "finished"
        if training.patience is not None and self.progress.stale >= training.patience:
            return "early stopping"
        if training.max_minutes is not None and self.seconds > 60 * training.max_minutes:
            return "time limit"
        return None


def _on_host(tree: PyTree) -> PyTree:
    # Copies: on CPU a view would share memory that the next, donating step writes to.
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)
