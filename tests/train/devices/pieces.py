"""What tests of several devices start as a process: a run in pieces, each on devices of its own.

python -m tests.train.devices.pieces PIECES [PORT PROCESSES PROCESS]

PIECES is a JSON list of pieces, see `Piece`. Each writes FOLDER/result.npz: the losses of its
steps, the errors of the report if it came to its end, and every number of the last checkpoint.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensornet_jax.config import load_config
from tensornet_jax.models import MODELS
from tensornet_jax.runtime.checkpoint import FORMAT, CheckpointStore
from tensornet_jax.runtime.processes import (
    LostProcessError,
    end_process,
    is_first,
    join_processes,
)
from tensornet_jax.train import loop
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting import report
from tensornet_jax.train.run import train
from tests.train.small import PairConfig, PairModel, Recorder


@dataclass(frozen=True)
class Piece:
    """A piece of a run.

    Attributes:
        folder: with run.yaml.
        devices: as `training.devices`.
        signal: that a process sends itself.
        after: the step after which it does.
        process: that process.
        overrides: of the configuration.
    """

    folder: str
    devices: int | str = "all"
    signal: int = 0
    after: int = -1
    process: int = 0
    overrides: tuple[str, ...] = ()


class Stopping(Recorder):
    """Sends this process a signal after a step."""

    def __init__(self, piece: Piece, process: int):
        super().__init__()
        self._piece, self._concerned = piece, process == piece.process

    def step(self, report):
        super().step(report)
        if self._concerned and report.step == self._piece.after:
            os.kill(os.getpid(), self._piece.signal)


def run(piece: Piece, process: int) -> None:
    """Train, and write down what came of it."""
    folder = Path(piece.folder)
    overrides = [f"training.devices={piece.devices}", *piece.overrides]
    config = load_config(folder / "run.yaml", RunConfig, overrides)
    recorder = Stopping(piece, process)
    result = train(config, resume=True, reporter=recorder)
    print(*recorder.messages, f"interrupted: {result.interrupted}", sep="\n")
    if not is_first():
        return
    store = CheckpointStore(Path(config.directory) / "checkpoints")
    _, arrays = FORMAT.read(store.directory / f"{store.steps()[-1]}.safetensors")
    found: dict[str, np.ndarray] = {
        "losses": np.array([step.loss for step in recorder.steps]),
        "errors": np.array([row.rmse for row in result.rows]),
        "padding": np.array([result.facts.atom_padding, result.facts.pair_padding]),
        **arrays,
    }
    with (folder / "result.npz").open("wb") as file:
        np.savez(file, **found)  # pyright: ignore[reportArgumentType] (names of arrays)


def main(pieces: str, *launch: str) -> None:
    """Run all pieces."""
    process = 0
    if launch:
        process = int(launch[2])
        join_processes(f"localhost:{launch[0]}", int(launch[1]), process)
    MODELS["pairs"] = (PairConfig, PairModel)
    report.plot_parity = report.plot_learning_curves = lambda *_: None
    loop.SAVE_AT_EPOCH_END = 0.0
    for piece in json.loads(pieces):
        run(Piece(**piece), process)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LostProcessError as error:
        print(f"error: {error}", flush=True)
        end_process(1)
