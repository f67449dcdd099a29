"""What a run knows on the host besides the training state; saved in every checkpoint."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.train.data.capacities import Padding
from tensornet_jax.train.optimization.plateau import PlateauState


@dataclass
class RunningMeans:
    """Sums over the steps since the last row of the training log; skipped steps are left out."""

    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, scalars: Mapping[str, float]) -> None:
        """Add the scalars of one step."""
        self.steps += 1
        for name, value in scalars.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def mean(self, name: str) -> float:
        """Return a mean, NaN if every step was skipped."""
        return self.sums[name] / self.steps if self.steps else float("nan")


@dataclass
class Progress:
    """Counters of a run.

    Attributes:
        step: batches done, skipped ones included.
        skipped: batches skipped.
        seconds: wall time of all pieces of the run up to the checkpoint.
        best_loss: lowest validation loss.
        best_step: step of that validation, −1 before any.
        stale: validations since then.
        plateau: state of the plateau schedule.
        train_rows: rows in log_train.csv.
        validation_rows: rows in log_validation.csv.
        compilations: functions compiled in earlier pieces of the run.
        padding: of all training batches.
        running: sums for the next row of the training log.
        tables_by_shape: whether tables of elements are told by their shapes; runs that began before
            that go by names, or their steps would change.
    """

    step: int = 0
    skipped: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf
    best_step: int = -1
    stale: int = 0
    plateau: PlateauState = field(default_factory=PlateauState)
    train_rows: int = 0
    validation_rows: int = 0
    compilations: int = 0
    padding: Padding = field(default_factory=Padding)
    running: RunningMeans = field(default_factory=RunningMeans)
    tables_by_shape: bool = True

    def to_json(self) -> Json:
        """Return plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Json) -> Self:
        """Return what `to_json` was made from."""
        return cls(
            **{
                "tables_by_shape": False,
                **content,
                "plateau": PlateauState(**content["plateau"]),
                "padding": Padding(**content["padding"]),
                "running": RunningMeans(**content["running"]),
            }
        )
