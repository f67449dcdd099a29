"""A run killed at any moment, again and again, is in the end the run in one piece."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tensornet_jax.config import dump_config, load_config
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train
from tests.train.test_resume import SECTIONS, assert_same_run, whole

__all__ = ["whole"]

KILLS = 3

# Dies a moment after a step, wherever it then is: in a step, a validation, a row, a checkpoint.
CHILD = """
import os, signal, sys, threading, time
from tensornet_jax.config import load_config
from tensornet_jax.models import MODELS
from tensornet_jax.train import loop
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.run import train
from tests.train.small import PairConfig, PairModel, Recorder

MODELS["pairs"] = (PairConfig, PairModel)
loop.SAVE_AT_EPOCH_END = 0.0
config, steps, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


def die():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(Recorder):
    def step(self, report):
        super().step(report)
        if len(self.steps) == steps:
            threading.Thread(target=die, daemon=True).start()


train(load_config(config, RunConfig), resume=True, reporter=Dying())
"""


def test_a_run_killed_at_random_moments_is_the_run_in_one_piece(
    run_config, whole, compiled, tmp_path
):
    config: RunConfig = run_config("pieces", **SECTIONS)
    directory, path = Path(config.directory), tmp_path / "killed.yaml"
    path.write_text(dump_config(config))
    # Not the same moments every time: each run of the tests looks at others.
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    codes = []
    for _ in range(KILLS):
        steps, delay = draw.randint(1, 9), draw.uniform(0.0, 0.3)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(steps), str(delay)],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(compiled)},
            capture_output=True,
            text=True,
        )
        codes.append(done.returncode)
        assert done.returncode in (-signal.SIGKILL, 0), (seed, done.stderr)
        assert load_config(directory / "config.yaml", RunConfig).training == config.training
        model = directory / "model.safetensors"
        assert not model.exists() or load_model(model).config == config.model
    assert -signal.SIGKILL in codes
    result = train(config, resume=True)
    assert_same_run(result.directory, whole)
    for name in ("log_train.csv", "log_validation.csv"):
        steps = [row["step"] for row in read_rows(directory / name)]
        assert steps == sorted(set(steps)), (seed, name)
