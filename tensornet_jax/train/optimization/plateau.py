"""The plateau schedule, which follows the validation loss on the host."""

import math
from dataclasses import dataclass
from typing import Self

from tensornet_jax.train.config.optimizer import OptimizerConfig, PlateauSchedule


@dataclass(frozen=True)
class PlateauState:
    """Where the plateau schedule stands; saved with the run."""

    scale: float = 1.0
    best: float = math.inf
    stale: int = 0


@dataclass(frozen=True)
class Plateau:
    """Lowers the learning rate when the validation loss has stopped improving.

    After `patience` validations in a row that are not better than the best by one part in 10⁴ the
    scale is multiplied by `factor`, never below `final_fraction`.
    """

    factor: float
    patience: int
    final_fraction: float

    @classmethod
    def from_config(cls, config: OptimizerConfig) -> Self | None:
        """Return the configured plateau rule, or None under another schedule."""
        schedule = config.schedule
        if not isinstance(schedule, PlateauSchedule):
            return None
        return cls(schedule.factor, schedule.patience, schedule.final_fraction)

    def update(self, state: PlateauState, loss: float) -> PlateauState:
        """Return the state after one validation; a non-finite loss counts as no improvement."""
        if loss < state.best * (1.0 - 1e-4):
            return PlateauState(state.scale, loss, 0)
        if state.stale + 1 < self.patience:
            return PlateauState(state.scale, state.best, state.stale + 1)
        return PlateauState(max(state.scale * self.factor, self.final_fraction), state.best, 0)
