"""The directory of a run: one writer at a time, and one configuration for all its pieces."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tensornet_jax.config import dump_config, load_config
from tensornet_jax.runtime.locks import exclusive
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.loop import TrainingError

# What may differ between the pieces of one run. Anything else would change the steps to come in a
# way that neither configuration describes.
RESUMABLE = frozenset(
    {
        "directory",
        "training.epochs",
        "training.patience",
        "training.max_minutes",
        "training.max_skipped_steps",
        "training.validate_every",
        "logging.tensorboard",
        "logging.wandb",
    }
)


@contextmanager
def held(directory: Path) -> Iterator[bool]:
    """Make the directory, keep every other run out of it, and say whether it holds a run.

    Raises:
        InUseError: another process runs in it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    remedy = "wait until that run has ended, or choose another directory"
    with exclusive(directory / ".lock", f"run directory {directory}", remedy):
        yield any((directory / "checkpoints").glob("[0-9]*"))


def record_config(config: ResolvedRun, directory: Path, begun: bool, resume: bool) -> None:
    """Write the resolved configuration.

    If there is a run to resume, it must be that of its first piece, but for RESUMABLE.

    Raises:
        FileExistsError: there is a run, and it is not to be resumed.
        TrainingError: the run began with another configuration.
    """
    path = directory / "config.yaml"
    if begun and not resume:
        raise FileExistsError(
            f"{directory} already holds a run: resume it, or choose another directory"
        )
    if begun:
        former = load_config(path, ResolvedRun)
        origins = [
            "random weights" if each.start is None else f"start.model {each.start.model}"
            for each in (former, config)
        ]
        if origins[0] != origins[1]:
            raise TrainingError(
                f"{path}: the run began from {origins[0]}, not from {origins[1]}: resume with the "
                "former, or choose another directory"
            )
        saved, asked = _flat(former), _flat(config)
        for key in sorted(saved.keys() | asked.keys()):
            if saved.get(key) != asked.get(key) and key not in RESUMABLE:
                raise TrainingError(
                    f"{path}: the run began with {key} = {saved.get(key)!r}, not "
                    f"{asked.get(key)!r}: resume with the former, or choose another directory"
                )
    # In one step: without it no run can be resumed.
    partial = path.with_name(path.name + ".partial")
    partial.write_text(dump_config(config), encoding="utf-8")
    partial.replace(path)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    content = value.model_dump(mode="json") if isinstance(value, RunConfig) else value
    flat: dict[str, Any] = {}
    for key, item in content.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat
