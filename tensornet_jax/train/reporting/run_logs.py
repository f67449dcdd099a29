"""The three logs of a run: training, validation, and steps that were skipped."""

from collections.abc import Mapping, Sequence

from tensornet_jax.train.progress import Progress
from tensornet_jax.train.reporting.csv_log import CsvLog
from tensornet_jax.train.run_directory import RunDirectory


class RunLogs:
    """CSV files in the run directory, each cut back to the rows that the run's progress knows of.

    Args:
        directory: the run directory, which exists.
        losses: columns of the training log with losses.
        validated: columns of the validation log with losses and errors; None for no such log.
        progress: of the run; its counts of rows are kept up to date.
    """

    def __init__(
        self,
        directory: RunDirectory,
        losses: Sequence[str],
        validated: Sequence[str] | None,
        progress: Progress,
    ):
        self._progress = progress
        columns = ("epoch", "step", "steps", *losses)
        self._train = CsvLog(
            directory.train_log,
            (*columns, "gradient_norm", "learning_rate", "skipped", "seconds"),
            progress.train_rows,
        )
        self._validation = None
        if validated is not None:
            self._validation = CsvLog(
                directory.validation_log,
                ("epoch", "step", *validated, "best", "learning_rate_scale", "seconds"),
                progress.validation_rows,
            )
        self._skipped = CsvLog(
            directory.skipped_steps,
            ("step", "epoch", "loss", "gradient_norm", "structures"),
            progress.skipped,
        )

    def train(self, row: Mapping[str, float]) -> None:
        """Write a row of the training log."""
        self._train.append({name: _number(value) for name, value in row.items()})
        self._progress.train_rows = self._train.num_rows

    def validation(self, row: Mapping[str, float]) -> None:
        """Write a row of the validation log, if there is one."""
        if self._validation is not None:
            self._validation.append({name: _number(value) for name, value in row.items()})
            self._progress.validation_rows = self._validation.num_rows

    def skipped(self, row: Mapping[str, float], structures: str) -> None:
        """Write a row about a step that was skipped."""
        numbers = {name: _number(value) for name, value in row.items()}
        self._skipped.append({**numbers, "structures": structures})


def _number(value: float) -> str:
    """Return the shortest text that reads back as the same number; whole numbers without point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
