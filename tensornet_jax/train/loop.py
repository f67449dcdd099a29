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

from tensornet_jax.checkpoint import CheckpointStore
from tensornet_jax.data.loader import ShuffledBatches, batches
from tensornet_jax.graph.atom_graph import AtomGraph, Targets, batch_structures, batch_targets
from tensornet_jax.potential import Potential
from tensornet_jax.train.capacities import Capacities
from tensornet_jax.train.config import LossTerm, RunConfig
from tensornet_jax.train.csv_log import CsvLog
from tensornet_jax.train.datasets import Examples
from tensornet_jax.train.evaluation import Validator
from tensornet_jax.train.metrics import UNITS
from tensornet_jax.train.optimizer import Plateau, learning_rate_schedule, make_optimizer
from tensornet_jax.train.progress import Progress, StopSignals
from tensornet_jax.train.reporter import Reporter, StepReport
from tensornet_jax.train.state import TrainState
from tensornet_jax.train.step import TrainStep

PyTree = Any
Outcome = Literal["finished", "early stopping", "time limit", "interrupted"]

# Seconds between checkpoints: at the end of an epoch, and in the midst of a long one.
SAVE_AT_EPOCH_END = 10.0
SAVE_WITHIN_EPOCH = 600.0
# Steps between rows of the training log in an epoch that is longer than this.
LOG_INTERVAL = 100
# Batches looked at in choosing capacities.
EXAMPLE_BATCHES = 200


class TrainingError(RuntimeError):
    """A run that cannot go on; the text says why and what to try."""


class TrainingLoop:
    """A run from its current step to its end.

    Args:
        config: the resolved configuration.
        potential: the untrained potential; gives buffers, scale and `predict`.
        train: training structures.
        validation: validation structures.
        terms: the loss terms that training structures have labels for.
        store: where checkpoints go.
        directory: the run directory, which exists.
        reporter: is told what happens.
        publish: takes the best averaged weights whenever they have changed since the last save.
        resume: continue from the newest intact checkpoint.
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
    ):
        self.config = config
        self.progress = Progress()
        self._potential = potential
        self._train = train
        self._terms = dict(terms)
        self._store = store
        self._reporter = reporter
        self._publish = publish
        self._plan = ShuffledBatches(len(train), config.training.batch_size, config.seed)
        self.steps_per_epoch = self._plan.steps_per_epoch
        self.num_steps = config.training.epochs * self.steps_per_epoch
        # Their number does not depend on epochs, which a resumed run may change.
        examples = [self._plan[k] for k in range(EXAMPLE_BATCHES)]
        self._capacities = Capacities.choose(train.structures, self._plan.batch_size, examples)
        schedule = learning_rate_schedule(config.optimizer, self.num_steps, self.steps_per_epoch)
        optimizer = make_optimizer(config.optimizer, schedule)
        averaging = config.optimizer.ema_decay
        self._step = TrainStep(potential, self._terms, optimizer, schedule, averaging)
        self._plateau = Plateau.from_config(config.optimizer)
        self._validator = Validator(
            potential, validation, terms, config.training.validation_batch_size
        )
        params = potential.variables["params"]
        self.state = TrainState.create(params, optimizer, averaging=averaging is not None)
        self.best = _on_host(params)
        self._saved_step = self._validated_step = self._published_step = -1
        if resume:
            self._restore()
        keep = self.progress
        self._train_log = CsvLog(
            directory / "log_train.csv", self._train_columns(), keep.train_rows
        )
        self._validation_log = CsvLog(
            directory / "log_validation.csv", self._validation_columns(), keep.validation_rows
        )
        self._skipped_log = CsvLog(
            directory / "skipped_steps.csv",
            ("step", "epoch", "loss", "gradient_norm", "structures"),
            keep.skipped,
        )
        self._began = self._saved_at = time.monotonic()
        self._unread: tuple[int, np.ndarray, dict[str, jax.Array]] | None = None

    def run(self) -> Outcome:
        """Take steps until there is a reason to stop, and return the reason.

        A checkpoint of the last step is there afterwards, unless an exception is raised.

        Raises:
            TrainingError: more steps than allowed were not finite, or no validation was.
        """
        with StopSignals() as signals:
            outcome = self._reason_to_stop(signals)
            todo = self.num_steps - self.progress.step
            if outcome is None:
                for _, indices, (graph, targets) in batches(
                    self._plan, self.progress.step, todo, self._collate
                ):
                    self._take_step(indices, graph, targets)
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
        return self._step.compilations, self._validator.compilations

    def save(self) -> None:
        """Write a checkpoint of this very step, unless there is one."""
        self._read_scalars()
        if self._saved_step == self.progress.step:
            return
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

    def _collate(self, indices: np.ndarray) -> tuple[AtomGraph, Targets]:
        capacity = self._capacities.of(indices)
        dtype = self.config.dtype
        structures = [self._train.structures[k] for k in indices]
        targets = [self._train.targets[k] for k in indices]
        return (
            batch_structures(structures, capacity, dtype),
            batch_targets(targets, capacity, dtype),
        )

    def _take_step(self, indices: np.ndarray, graph: AtomGraph, targets: Targets) -> None:
        scale = np.asarray(self.progress.plateau.scale, self.config.dtype)
        self.state, scalars = self._step(self.state, graph, targets, scale)
        # The scalars of the step before are read only now, while the device is busy with this one.
        self._read_scalars()
        self.progress.step += 1
        self.progress.padding.add(self._capacities, indices)
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
        sources = " ".join(self._train.sources[k] for k in indices)
        self._skipped_log.append(
            {
                "step": step,
                "epoch": _number(step / self.steps_per_epoch),
                "loss": _number(values["loss"]),
                "gradient_norm": _number(values["gradient_norm"]),
                "structures": sources,
            }
        )
        self._reporter.message(
            f"step {step} skipped: loss {values['loss']:.4g}, gradient norm "
            f"{values['gradient_norm']:.4g}; nothing was updated; structures: {sources}"
        )

    def _train_columns(self) -> tuple[str, ...]:
        losses = ("loss", *(f"loss_{name}" for name in self._terms))
        return (
            "epoch",
            "step",
            "steps",
            *losses,
            "gradient_norm",
            "learning_rate",
            "skipped",
            "seconds",
        )

    def _write_train_row(self) -> None:
        self._read_scalars()
        running, progress = self.progress.running, self.progress
        row = {
            "epoch": progress.step / self.steps_per_epoch,
            "step": progress.step,
            "steps": running.steps,
            "loss": running.mean("loss"),
            **{f"loss_{name}": running.mean(name) for name in self._terms},
            "gradient_norm": running.mean("gradient_norm"),
            "learning_rate": running.mean("learning_rate"),
            "skipped": progress.skipped,
            "seconds": self.seconds,
        }
        progress.running = type(running)()
        self._train_log.append({name: _number(value) for name, value in row.items()})
        progress.train_rows = self._train_log.num_rows
        self._reporter.train_row(row)

    def _error_properties(self) -> list[str]:
        names = [name for name in UNITS if name in self._terms]
        return [*names, "energy_per_atom"] if "energy" in names else names

    def _validation_columns(self) -> tuple[str, ...]:
        losses = ("loss", *(f"loss_{name}" for name in self._terms))
        errors = [f"{name}_{kind}" for name in self._error_properties() for kind in ("mae", "rmse")]
        return ("epoch", "step", *losses, *errors, "best", "learning_rate_scale", "seconds")

    def _validate(self) -> None:
        result = self._validator(self.state.evaluated)
        progress = self.progress
        self._validated_step = progress.step
        best = result.loss < progress.best_loss
        if best:
            progress.best_loss, progress.best_step, progress.stale = result.loss, progress.step, 0
            self.best = _on_host(self.state.evaluated)
        else:
            progress.stale += 1
        if self._plateau is not None:
            lowered = self._plateau.update(progress.plateau, result.loss)
            if lowered.scale != progress.plateau.scale:
                self._reporter.message(
                    f"validation loss has stopped improving: learning rate × {lowered.scale:.3g}"
                )
            progress.plateau = lowered
        errors = {}
        for name in self._error_properties():
            total = result.errors.total(name)
            errors |= {f"{name}_mae": total.mae, f"{name}_rmse": total.rmse}
        row = {
            "epoch": progress.step / self.steps_per_epoch,
            "step": progress.step,
            "loss": result.loss,
            **{f"loss_{name}": value for name, value in result.terms.items()},
            **errors,
            "best": float(best),
            "learning_rate_scale": progress.plateau.scale,
            "seconds": self.seconds,
        }
        self._validation_log.append({name: _number(value) for name, value in row.items()})
        progress.validation_rows = self._validation_log.num_rows
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


def _number(value: float) -> str:
    """Return the shortest text that reads back as the same number; whole numbers without point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _on_host(tree: PyTree) -> PyTree:
    # Copies: on CPU a view would share memory that the next, donating step writes to.
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)
