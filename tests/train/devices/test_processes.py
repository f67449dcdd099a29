"""Several processes train together: they agree, stop together, and none outlives another."""

import signal
import time

import numpy as np
import pytest

from tests.train.devices.pieces import Piece
from tests.train.devices.starting import (
    PATIENCE,
    assert_agree,
    make_run,
    output_of,
    result_of,
    start,
    start_together,
)

# Seconds that the others may go on once a process is lost.
MOST_SECONDS = 60


def checkpoints(folder):
    return sorted(int(path.stem) for path in (folder / "run" / "checkpoints").iterdir())


def test_a_lost_process_ends_the_others_and_the_run_goes_on(tmp_path):
    killed, one = make_run(tmp_path / "killed"), make_run(tmp_path / "one")
    piece = Piece(str(killed), "all", int(signal.SIGKILL), after=5, process=1)
    first, second = start_together([piece], tmp_path / "cache")
    output_of(second, code=-signal.SIGKILL)
    lost = time.monotonic()
    message = output_of(first, code=1)
    assert time.monotonic() - lost < MOST_SECONDS
    assert "one of them has ended" in message
    assert "go on from the newest checkpoint" in message
    assert checkpoints(killed) == [3]

    # A request of any process stops all of them at the same step.
    piece = Piece(str(killed), "all", int(signal.SIGTERM), after=7, process=1)
    outputs = [output_of(each) for each in start_together([piece], tmp_path / "cache")]
    assert "a signal to another process: saving and stopping" in outputs[0]
    assert "SIGTERM: saving and stopping" in outputs[1]
    (step,) = {text.split("saved at step ")[1].split()[0] for text in outputs}
    assert int(step) == checkpoints(killed)[-1] in (8, 9, 10)

    output_of(start([Piece(str(killed), 1), Piece(str(one), 1)], tmp_path / "cache"))
    assert_agree(killed, one, 1e-12)
    # One process has written, and each row once.
    logs = [(folder / "run" / "log_train.csv").read_text() for folder in (killed, one)]
    assert len(logs[0].splitlines()) == len(logs[1].splitlines()) == 5


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_killed_and_resumed_is_bitwise_the_run_of_the_same_processes(tmp_path, victim):
    whole, killed = make_run(tmp_path / "whole", epochs=8), make_run(tmp_path / "killed", epochs=8)
    for each in start_together([Piece(str(whole))], tmp_path / "cache"):
        output_of(each)
    piece = Piece(str(killed), "all", int(signal.SIGKILL), after=11, process=victim)
    processes = start_together([piece], tmp_path / "cache")
    output_of(processes[victim], code=-signal.SIGKILL)
    lost = time.monotonic()
    # Without its coordinator JAX may end a process before this package does.
    processes[1 - victim].communicate(timeout=PATIENCE)
    assert processes[1 - victim].returncode != 0
    assert time.monotonic() - lost < MOST_SECONDS
    for each in start_together([Piece(str(killed))], tmp_path / "cache"):
        output_of(each)
    expected, found = result_of(whole), result_of(killed)
    expected["losses"] = expected["losses"][-len(found["losses"]) :]
    for name, value in expected.items():
        assert value.tobytes() == found[name].tobytes(), name
    assert np.isfinite(found["losses"]).all()
