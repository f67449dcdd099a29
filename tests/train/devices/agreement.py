"""A run on several simulated devices, or in several processes: what tests start as a process.

python -m tests.train.devices.agreement FOLDER DEVICES [PORT PROCESSES PROCESS]

FOLDER holds run.yaml. The losses of all steps, and every number of the last checkpoint, are written
to FOLDER/result.npz.
"""

import json
import os
import signal
import sys
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


class Stopping(Recorder):
    """Sends this process a signal after a step, if STOP_AT asks for it."""

    def step(self, report):
        super().step(report)
        step, number = json.loads(os.environ.get("STOP_AT", "[0, 0]"))
        if report.step == step:
            os.kill(os.getpid(), number)


def main(folder: Path, devices: str, *launch: str) -> None:
    """Train and write down what came of it."""
    if launch:
        join_processes(f"localhost:{launch[0]}", int(launch[1]), int(launch[2]))
    MODELS["pairs"] = (PairConfig, PairModel)
    report.plot_parity = report.plot_learning_curves = lambda *_: None
    loop.SAVE_AT_EPOCH_END = 0.0
    config = load_config(folder / "run.yaml", RunConfig, [f"training.devices={devices}"])
    recorder = Stopping()
    result = train(config, resume=True, reporter=recorder)
    print(json.dumps({"interrupted": result.interrupted, "messages": recorder.messages}))
    if is_first():
        store = CheckpointStore(Path(config.directory) / "checkpoints")
        _, arrays = FORMAT.read(store.directory / f"{store.steps()[-1]}.safetensors")
        np.savez(
            folder / "result.npz",
            losses=[step.loss for step in recorder.steps],
            steps=[step.step for step in recorder.steps],
            errors=[row.rmse for row in result.rows],
            padding=[result.facts.atom_padding, result.facts.pair_padding],
            compilations=result.facts.compilations,
            **arrays,
        )


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except LostProcessError as error:
        print(f"error: {error}")
        end_process(1)
