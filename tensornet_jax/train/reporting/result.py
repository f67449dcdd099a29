"""What a training run ends with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tensornet_jax.potential.potential import Potential
from tensornet_jax.train.evaluation.metrics import ErrorRow


@dataclass(frozen=True)
class RunFacts:
    """What a run says of itself besides its errors.

    Attributes:
        outcome: why it ended.
        num_steps: steps done.
        epochs: epochs done.
        best_epoch: epoch of the weights that were kept.
        best_loss: their validation loss; infinite if nothing was validated.
        skipped: steps skipped.
        minutes: wall time, earlier pieces included.
        structures_per_second: of training, everything counted in.
        compilations: functions compiled for training and validation, in all pieces.
        atom_padding: share of the atom slots of training batches that was padding.
        pair_padding: the same for neighbor pairs.
        num_parameters: parameters.
        num_trained: those of them that are not frozen.
        device: what computed.
        versions: package → version.
    """

    outcome: str
    num_steps: int
    epochs: float
    best_epoch: float
    best_loss: float
    skipped: int
    minutes: float
    structures_per_second: float
    compilations: int
    atom_padding: float
    pair_padding: float
    num_parameters: int
    num_trained: int
    device: str
    versions: Mapping[str, str]

    @property
    def validated(self) -> bool:
        """Whether the weights were chosen by a validation."""
        return math.isfinite(self.best_loss)

    def items(self) -> dict[str, str]:
        """Return the facts in words, by name."""
        parameters = f"{self.num_parameters:,}"
        if self.num_trained != self.num_parameters:
            parameters += f", {self.num_trained:,} of them trained"
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return {
            "ended": self.outcome,
            "epochs": f"{self.epochs:.4g} ({self.num_steps} steps, {self.skipped} skipped)",
            "best epoch": f"{self.best_epoch:.4g} (validation loss {self.best_loss:.5g})"
            if self.validated
            else f"{self.best_epoch:.4g}, the last: nothing was validated",
            "parameters": parameters,
            "wall time": f"{self.minutes:.1f} min",
            "speed": f"{self.structures_per_second:.3g} training structures/s, everything included",
            "compilations": str(self.compilations),
            "padding": f"{self.atom_padding:.1%} of atoms, {self.pair_padding:.1%} of pairs",
            "device": self.device,
            "versions": versions,
        }


@dataclass(frozen=True)
class TrainingResult:
    """What a run ends with.

    Attributes:
        directory: the run directory.
        potential: the best averaged weights so far.
        rows: the error table; empty when the run was interrupted.
        facts: why it ended, sizes and times.
        interrupted: stopped by a signal and to be resumed; there is no report yet.
    """

    directory: Path
    potential: Potential
    rows: list[ErrorRow]
    facts: RunFacts
    interrupted: bool
