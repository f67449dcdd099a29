"""Whatever moment a command is killed or interrupted at, no finished structure is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase
import ase.build
import ase.db
import ase.io
import pytest

from tensornet_jax.data.readers import read_structures
from tensornet_jax.potential.model_file import load_model
from tests.builders import unoptimized

RUN = "from tensornet_jax.cli import app; app()"
COUNT = 400
PATIENCE = 240
OPTIONS = {
    "predict": ("--batch-size", 1),
    "relax": ("--steps", 2, "--fmax", 1e-9, "--trajectory", "way.traj"),
}


@pytest.fixture(scope="module")
def waters(tmp_path_factory):
    """Return a file of so many structures that a command is always in the middle of them."""
    frames = [ase.build.molecule("H2O") for _ in range(COUNT)]
    for index, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=index)
    path = tmp_path_factory.mktemp("waters") / "in.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


def started(arguments, folder):
    """Start the command in a process of its own, which compiles little."""
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": str(root),
        **unoptimized(),
        "XDG_CACHE_HOME": str(folder / "cache"),
        # JAX lowers it in the process of the tests, and XLA's messages would fill the pipe.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-c", RUN, *(str(each) for each in arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def _rows(path):
    with ase.db.connect(path) as database:  # type: ignore[attr-defined]
        return database.count()


def wait_for_more_than(count, path, process):
    """Wait until a file has more structures."""
    end = time.monotonic() + PATIENCE
    size = path.stat().st_size if path.exists() else 0
    while True:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        if path.exists():
            # Pages of a database are there before their rows.
            found = _rows(path) if path.suffix == ".db" else path.stat().st_size
            if found > (count if path.suffix == ".db" else size):
                return
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        ("predict", ".xyz"),
        ("relax", ".traj"),
        pytest.param("predict", ".db", marks=pytest.mark.slow),
        pytest.param("relax", ".xyz", marks=pytest.mark.slow),
    ],
)
def test_a_killed_command_loses_nothing_and_goes_on(command, suffix, model, waters, tmp_path):
    out = tmp_path / f"out{suffix}"
    arguments = (command, model, waters, out, *OPTIONS[command], "--resume")
    delays = random.Random(f"{command}{suffix}")
    before: list[int] = []
    frames: list[ase.Atoms] = []
    for number in (signal.SIGKILL, signal.SIGINT):
        process = started(arguments, tmp_path)
        wait_for_more_than(len(before), out, process)
        time.sleep(delays.uniform(0.0, 0.1))
        process.send_signal(number)
        errors = process.communicate(timeout=PATIENCE)[1]
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130, errors
            assert f"of {COUNT} structures are in {out}" in errors
            assert "--resume goes on" in errors
        frames = read_structures(out)
        found = [atoms.info["input_index"] for atoms in frames]
        # Each is there once, in order, and what was there has stayed.
        assert found == list(range(len(found)))
        assert len(before) < len(found) < COUNT
        before = found
    for atoms, prediction in zip(frames, load_model(model).evaluate(frames, "energy"), strict=True):
        energy = atoms.info.get("predicted_energy", atoms.info.get("REF_energy"))
        assert energy == pytest.approx(prediction["energy"], abs=1e-5)
