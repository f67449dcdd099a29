"""The directory of a run: its files, one writer at a time, and one configuration for all pieces."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tensornet_jax.config import dump_config, load_config
from tensornet_jax.runtime.locks import exclusive
from tensornet_jax.runtime.whole_files import write_whole
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.failure import TrainingError

# What may differ between the pieces of one run. Anything else would change the steps to come in a
# way that neither configuration describes.
RESUMABLE = frozenset(
    {
        "directory",
        "data.cache",
        "data.workers",
        "training.devices",
        "training.epochs",
        "training.patience",
        "training.max_minutes",
        "training.max_skipped_steps",
        "training.validate_every",
        "logging.tensorboard",
        "logging.wandb",
    }
)


class ReportFiles:
    """The files of a report; nobody else knows their names.

    Attributes:
        path: the folder.
        page: what to read first.
        html: the same and more for a browser, in one file.
        errors: the table of all errors.
        errors_before: the same of the potential that a fine-tuning began with.
        learning_curves: a plot of both logs.
        reliability: how right standard deviations are, of a model that knows any.
    """

    def __init__(self, path: Path):
        self.path = path
        self.page = path / "report.md"
        self.html = path / "report.html"
        self.errors = path / "errors.csv"
        self.errors_before = path / "errors_before.csv"
        self.learning_curves = path / "learning_curves.png"
        self.reliability = path / "reliability.csv"

    def parity(self, data_set: str) -> Path:
        """Return the plot of the predictions of a set against its labels."""
        return self.path / f"parity_{data_set}.png"

    def reliability_of(self, data_set: str) -> Path:
        """Return the plot of the errors on a set over their standard deviations."""
        return self.path / f"reliability_{data_set}.png"


class RunDirectory:
    """The files of a run; nobody else knows their names.

    Attributes:
        path: the directory.
        config: the resolved configuration.
        split: which structures are trained, validated and tested on.
        finetuned_from: the potential before the first step of a fine-tuning.
        data_cache: what was found out about data that are not held in memory.
        train_log: means over training steps.
        validation_log: errors of each validation.
        skipped_steps: steps that were not finite, with their structures.
        checkpoints: training states.
        model: the potential with the best weights so far.
        report: what is written when the run has ended.
        tensorboard: event files for TensorBoard.
        wandb: the run's identifier at Weights & Biases.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.split = self.path / "split.json"
        self.finetuned_from = self.path / "start.safetensors"
        self.data_cache = self.path / "data_cache"
        self.train_log = self.path / "log_train.csv"
        self.validation_log = self.path / "log_validation.csv"
        self.skipped_steps = self.path / "skipped_steps.csv"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model.safetensors"
        self.report = ReportFiles(self.path / "report")
        self.tensorboard = self.path / "tensorboard"
        self.wandb = self.path / "wandb_id.txt"

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Make the directory, keep every other run out of it, and say whether it holds a run.

        Raises:
            InUseError: another process runs in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remedy = "wait until that run has ended, or choose another directory"
        with exclusive(self.path / ".lock", f"run directory {self.path}", remedy):
            yield any(self.checkpoints.glob("[0-9]*"))

    def read_when_resumed(self) -> list[Path]:
        """Return the files, and folders, that a run reads of an earlier piece of itself."""
        logs = (self.train_log, self.validation_log, self.skipped_steps)
        splits = self.path.glob(f"{self.split.stem}*{self.split.suffix}")
        found = (self.config, self.finetuned_from, self.checkpoints, *logs, *splits)
        return [path for path in found if path.exists()]

    def record(self, config: ResolvedRun, begun: bool, resume: bool) -> None:
        """Write the resolved configuration.

        If there is a run to resume, it must be that of its first piece, but for RESUMABLE.

        Raises:
            FileExistsError: there is a run, and it is not to be resumed.
            TrainingError: the run began with another configuration.
        """
        if begun and not resume:
            raise FileExistsError(
                f"{self.path} already holds a run: resume it, or choose another directory"
            )
        if begun:
            self._check_unchanged(load_config(self.config, ResolvedRun), config)
        # Whole or not at all: without it no run can be resumed.
        write_whole(self.config, dump_config(config))

    def _check_unchanged(self, former: ResolvedRun, config: ResolvedRun) -> None:
        origins = [
            "random weights" if each.start is None else f"start.model {each.start.model}"
            for each in (former, config)
        ]
        if origins[0] != origins[1]:
            raise TrainingError(
                f"{self.config}: the run began from {origins[0]}, not from {origins[1]}: resume "
                "with the former, or choose another directory"
            )
        saved, asked = (
            flattened(former.model_dump(mode="json")),
            flattened(config.model_dump(mode="json")),
        )
        for key in sorted(saved.keys() | asked.keys()):
            if saved.get(key) != asked.get(key) and key not in RESUMABLE:
                raise TrainingError(
                    f"{self.config}: the run began with {key} = {saved.get(key)!r}, not "
                    f"{asked.get(key)!r}: resume with the former, or choose another directory"
                )


def flattened(content: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return what sections of a configuration hold, by keys with dots.

    Args:
        content: a section as JSON.
        prefix: of all keys.
    """
    flat: dict[str, object] = {}
    for key, item in content.items():
        if isinstance(item, Mapping) and item:
            flat |= flattened(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat
