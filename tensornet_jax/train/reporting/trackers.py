"""TensorBoard and Weights & Biases, imported only when the configuration asks for them."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting.reporter import Reporter, RunStart


def trackers(config: RunConfig, directory: Path) -> list[Reporter]:
    """Return a reporter for each tracker the configuration asks for.

    Raises:
        ImportError: the tracker's package is not installed; the message names the extra.
    """
    found: list[Reporter] = []
    if config.logging.tensorboard:
        found.append(TensorBoardReporter(directory / "tensorboard"))
    if config.logging.wandb is not None:
        found.append(WandbReporter(config, config.logging.wandb, directory))
    return found


def _imported(module: str, key: str, extra: str) -> Any:
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
        self._writer: Any = None

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
            if name != "step":
                self._writer.add_scalar(f"{group}/{name}", value, int(row["step"]))

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()


class WandbReporter(Reporter):
    """Logs the rows to a Weights & Biases project; a resumed run goes on under its old id."""

    def __init__(self, config: RunConfig, project: str, directory: Path):
        self._module = _imported("wandb", "wandb", "wandb")
        self._config = config
        self._project = project
        self._directory = directory
        self._run: Any = None

    def start(self, start: RunStart) -> None:
        """Open the run."""
        known = self._directory / "wandb_id.txt"
        identifier = known.read_text().strip() if start.start_step and known.exists() else None
        self._run = self._module.init(
            project=self._project,
            name=self._directory.name,
            dir=str(self._directory),
            config=self._config.model_dump(mode="json"),
            id=identifier,
            resume="allow",
        )
        known.write_text(f"{self._run.id}\n")

    def train_row(self, row: Mapping[str, float]) -> None:
        """Log the row."""
        self._run.log({f"train/{k}": v for k, v in row.items()}, step=int(row["step"]))

    def validation_row(self, row: Mapping[str, float]) -> None:
        """Log the row."""
        self._run.log({f"validation/{k}": v for k, v in row.items()}, step=int(row["step"]))

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()
