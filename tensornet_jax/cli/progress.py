"""What a training run shows in the terminal: messages, validation errors, and a progress bar."""

import math
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tensornet_jax.cli.passes import PassProgress
from tensornet_jax.cli.terminal import console as terminal
from tensornet_jax.train.evaluation.metrics import SUMMARIZED, render, shown_unit, summary
from tensornet_jax.train.reporting.reporter import Reporter, RunStart, StepReport
from tensornet_jax.train.reporting.result import TrainingResult
from tensornet_jax.train.run_directory import RunDirectory

# Weight of the newest step in the loss that is shown, and seconds over which the rate is taken.
SMOOTHING = 0.05
RATE_WINDOW = 10.0


class TerminalReporter(Reporter):
    """Prints what happens, above a bar with step, rate, time left and loss.

    Without a terminal the bar is left out and the lines remain, so that a log file stays readable.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or terminal()
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]:.1f}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}  loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._passes = PassProgress(self._console)
        self._loss = math.nan
        self._rate = ""
        self._window: list[tuple[float, int]] = []
        self._tensors: Mapping[str, str] = {}
        self._validates = True

    def message(self, text: str) -> None:
        """Print one line."""
        self._print(text)

    def audit(self, lines: Sequence[str]) -> None:
        """Print the table that describes the data."""
        self._print("\n".join(lines))

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a pass over data is."""
        self._passes.show(what, done, total)

    def start(self, start: RunStart) -> None:
        """Print the sizes of the run and start the bar."""
        self._tensors = start.tensors
        self._validates = start.num_validation > 0
        validation = start.num_validation if self._validates else "none"
        self._print(
            f"\n{start.num_train} structures to train on, {validation} to validate on; "
            + (f"{start.num_replay} to replay; " if start.num_replay else "")
            + f"{start.num_parameters:,} parameters; loss on {', '.join(start.terms)}; "
            f"{start.device}\nrun directory: {start.directory}"
        )
        self._bar.start()
        self._task = self._bar.add_task(
            "",
            total=start.num_steps,
            completed=start.start_step,
            epoch=start.start_step / start.steps_per_epoch,
            rate="",
            loss="",
        )

    def step(self, report: StepReport) -> None:
        """Move the bar on."""
        if not report.skipped:
            old = report.loss if math.isnan(self._loss) else self._loss
            self._loss = old + SMOOTHING * (report.loss - old)
        now = time.monotonic()
        self._window.append((now, report.structures))
        while now - self._window[0][0] > RATE_WINDOW:
            self._window.pop(0)
        elapsed = now - self._window[0][0]
        if elapsed > 0:
            # The first structures of the window were done when it began.
            done = sum(count for _, count in self._window[1:])
            self._rate = f"{done / elapsed:.3g} structures/s"
        if self._task is not None:
            self._bar.update(
                self._task,
                completed=report.step,
                epoch=report.epoch,
                rate=self._rate,
                loss=f"{self._loss:.4g}",
            )

    def train_row(self, row: Mapping[str, float]) -> None:
        """Print the loss of one epoch where no validation follows."""
        if not self._validates and float(row["epoch"]).is_integer():
            self._print(f"epoch {row['epoch']:g}: training loss {row['loss']:.4g}{self._speed}")

    def validation_row(self, row: Mapping[str, float]) -> None:
        """Print the errors of one validation; a star marks the best so far."""
        errors = _errors_in(row, self._tensors)
        replay = _errors_in(row, self._tensors, "replay_")
        errors += f"; replay {replay}" if replay else ""
        star = " *" if row["best"] else ""
        self._print(
            f"epoch {row['epoch']:g}: validation loss {row['loss']:.4g}; MAE / RMSE {errors}"
            f"{self._speed}{star}"
        )

    def finish(self, result: TrainingResult) -> None:
        """Print the error table and where everything lies."""
        self._bar.stop()
        if result.interrupted:
            return
        facts = result.facts
        kept = "the last averaged weights are kept"
        if facts.validated:
            kept = f"best validation loss {facts.best_loss:.4g} at epoch {facts.best_epoch:g}"
        self._print(
            f"\n{facts.outcome} after {facts.epochs:g} epochs in {facts.minutes:.1f} minutes; "
            f"{kept}\n"
        )
        self._print("\n".join(render(summary(result.rows))))
        files = RunDirectory(result.directory)
        self._print(f"\nmodel: {files.model}\nreport: {files.report.page}")

    def close(self) -> None:
        """Stop the bars, however the run ended."""
        self._passes.close()
        self._bar.stop()

    @property
    def _speed(self) -> str:
        """Structures per second, where no bar shows them."""
        return f", {self._rate}" if self._rate and not self._console.is_terminal else ""

    def _print(self, text: str) -> None:
        # File names and units may look like rich's markup: [H, C].
        self._console.print(text, markup=False)


def _errors_in(row: Mapping[str, float], tensors: Mapping[str, str], prefix: str = "") -> str:
    """Return MAE and RMSE of one set of columns, given the units of tensors."""
    return ", ".join(
        f"{name.replace('_', ' ')} {row[f'{prefix}{name}_mae'] * factor:.4g} / "
        f"{row[f'{prefix}{name}_rmse'] * factor:.4g} {unit}"
        for name in (*SUMMARIZED, *tensors)
        if f"{prefix}{name}_mae" in row
        for _, unit, factor in [shown_unit(name, tensors.get(name, ""))]
    )
