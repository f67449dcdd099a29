"""Two processes never write one output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensornet_jax.runtime.locks import InUseError, exclusive

HOLD = """
import sys, time
from pathlib import Path
from tensornet_jax.runtime.locks import exclusive
with exclusive(Path(sys.argv[1]), "runs/a", "wait"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    path = tmp_path / "a.lock"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with process.stdout:
        yield path, process
        process.kill()
        process.wait()


def test_a_second_process_is_refused_and_told_what_is_in_use(holder):
    path, _ = holder
    with (
        pytest.raises(InUseError, match=r"runs/a is in use.*wait"),
        exclusive(path, "runs/a", "wait"),
    ):
        pass


def test_a_killed_process_holds_nothing(holder):
    path, process = holder
    process.kill()
    process.wait()
    with exclusive(path, "runs/a", "wait"):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path):
    path = tmp_path / "a.lock"
    with pytest.raises(KeyError), exclusive(path, "a", "wait"):
        raise KeyError
    with exclusive(path, "a", "wait"):
        pass
