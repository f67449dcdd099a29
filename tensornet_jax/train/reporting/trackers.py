"""TensorBoard and Weights & Biases, imported only when the configuration asks for them."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol

from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting.reporter import Reporter, RunStart
from tensornet_jax.train.run_directory import RunDirectory


def trackers(config: RunConfig, directory: RunDirectory) -> list[Reporter]:
    """Return a reporter for each tracker the configuration asks for.

    Raises:
        ImportError: the tracker's package is not installed; the message names the extra.
    """
    found: list[Reporter] = []
    if config.logging.tensorboard:
        found.append(TensorBoardReporter(directory.tensorboard))
    if config.logging.wandb is not None:
        found.append(WandbReporter(config, config.logging.wandb, directory))
    return found


class Writer(Protocol):
    """What is used of TensorBoard's writer."""

    def add_scalar(self, tag: str, value: float, global_step: int, /) -> None:
        """Write a number."""

    def close(self) -> None:
        """Flush and close."""


class WandbRun(Protocol):
    """What is used of a run at Weights & Biases."""

    id: str

    def log(self, data: dict[str, float], /, *, step: int) -> None:
        """Send numbers."""

    def finish(self) -> None:
        """Send all, and end."""


def _imported(module: str, key: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"logging.{key} needs {module}: pip install 'tensornet_jax[{extra}]', "
            f"or remove logging.{key}"
        ) from error


class TensorBoardReporter(Reporter):
    """Writes the rows of the logs as scalars under train/ and validation/."""

    def __init__(self, directory: Path):
        self._module = _imported("tensorboardX", "tensorboard", "tensorboard")
        self._directory = directory
        self._writer: Writer | None = None

    def start(self, start: RunStart) -> None:
        """Open the event file; a resumed run hides what was written after its checkpoint."""
        self._writer = self._module.SummaryWriter(
            str(self._directory), purge_step=start.start_step + 1
        )

    def train_row(self, row: Mapping[str, float]) -> None:
        """Write the row."""
        self._write("train", row)

    def validation_row(self, row: Mapping[str, float]) -> None:
        """Write the row."""
        self._write("validation", row)

    def _write(self, group: str, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "step" and self._writer is not None:
                self._writer.add_scalar(f"{group}/{name}", value, int(row["step"]))

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()


class WandbReporter(Reporter):
    """Logs the rows to a Weights & Biases project; a resumed run goes on under its old id."""

    def __init__(self, config: RunConfig, project: str, directory: RunDirectory):
        self._module = _imported("wandb", "wandb", "wandb")
        self._config = config
        self._project = project
        self._directory = directory
        self._run: WandbRun | None = None

    def start(self, start: RunStart) -> None:
        """Open the run."""
        known = self._directory.wandb
        identifier = known.read_text().strip() if start.start_step and known.exists() else None
        run: WandbRun = self._module.init(
            project=self._project,
            name=self._directory.path.name,
            dir=str(self._directory.path),
            config=self._config.model_dump(mode="json"),
            id=identifier,
            resume="allow",
        )
        known.write_text(f"{run.id}\n")
        self._run = run

    def train_row(self, row: Mapping[str, float]) -> None:
        """Log the row."""
        self._log("train", row)

    def validation_row(self, row: Mapping[str, float]) -> None:
        """Log the row."""
        self._log("validation", row)

    def _log(self, group: str, row: Mapping[str, float]) -> None:
        if self._run is not None:
            values = {f"{group}/{name}": value for name, value in row.items()}
            self._run.log(values, step=int(row["step"]))

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()
