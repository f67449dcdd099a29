"""Runs on several simulated devices and in several processes, started by tests."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import ase
import ase.io
import numpy as np

from tests.builders import unoptimized
from tests.train.devices.pieces import Piece
from tests.train.small import clusters

ROOT = Path(__file__).resolve().parents[3]
# Seconds; a machine that other tests use too is slow.
PATIENCE = 300
# Of ASE 3.29 with NumPy 2.5, as in pyproject.toml.
OF_ASE = "Setting the shape on a NumPy array"


def frames() -> list[ase.Atoms]:
    """Return clusters of mixed sizes, of which some lack labels and some weigh more."""
    made = clusters(24)
    for k, atoms in enumerate(made):
        if k % 3 == 1:
            del atoms.arrays["REF_forces"]
        if k % 5 == 2:
            del atoms.info["REF_energy"]
        if k % 4 == 3:
            atoms.info["config_weight"] = 2.5
    return made


def make_run(folder: Path, dtype: str = "float64", epochs: int = 4) -> Path:
    """Write data and configuration of a run of three steps an epoch, and return the folder."""
    folder.mkdir(parents=True)
    ase.io.write(folder / "data.xyz", frames())
    (folder / "run.yaml").write_text(f"""
directory: {folder}/run
seed: 5
dtype: {dtype}
data: {{train: {folder}/data.xyz, validation: 6}}
model: {{name: pairs}}
loss: {{forces: {{weight: 10.0, kind: huber, delta: 0.3}}}}
optimizer: {{learning_rate: 0.01, ema_decay: 0.9, schedule: {{name: constant}}}}
training: {{epochs: {epochs}, batch_size: 7}}
""")
    return folder


def start(
    pieces: Sequence[Piece], cache: Path, devices: int = 1, launch: Sequence[int] = ()
) -> subprocess.Popen[str]:
    """Start a process that runs pieces on so many simulated devices of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        **unoptimized(f"--xla_force_host_platform_device_count={devices}"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    text = json.dumps([asdict(piece) for piece in pieces])
    strict = ["-W", "error", "-W", f"ignore:{OF_ASE}:DeprecationWarning"]
    command = [sys.executable, *strict, "-m", "tests.train.devices.pieces", text]
    return subprocess.Popen(
        [*command, *map(str, launch)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_together(
    pieces: Sequence[Piece], cache: Path, processes: int = 2
) -> list[subprocess.Popen[str]]:
    """Start several processes that run pieces together."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [start(pieces, cache, launch=(port, processes, k)) for k in range(processes)]


def output_of(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for a process, which has to end with an exit code, and return what it said."""
    try:
        output = process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()
    assert process.returncode == code, output
    return output


def result_of(folder: Path) -> dict[str, np.ndarray]:
    """Return what the last piece of a run wrote down."""
    with np.load(folder / "result.npz") as file:
        return dict(file)


def assert_agree(found: Path, expected: Path, tolerance: float) -> None:
    """Check that two runs end with the same numbers, relative to the largest of each array.

    Of losses those of the last steps, as many as the last piece of `found` took.
    """
    results = [result_of(folder) for folder in (found, expected)]
    for result in results:
        del result["padding"]
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        wanted = results[1][name][-len(value) :] if name == "losses" else results[1][name]
        size = np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(value, wanted, rtol=0, atol=tolerance * size, err_msg=name)
