"""Lines that are written anew are for those who can see them change."""

import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from tensornet_jax.cli.terminal import console
sys.exit(console().is_terminal)
"""


def is_terminal(stdout, **environment: str) -> bool:
    names = ("JPY_PARENT_PID", "FORCE_COLOR", "TERM", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", PROGRAM]
    return bool(subprocess.call(command, stdout=stdout, env=kept | environment))


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


def test_a_terminal_is_one(terminal):
    assert is_terminal(terminal, TERM="xterm")


def test_a_file_is_none_whatever_color_is_asked_for():
    assert not is_terminal(subprocess.DEVNULL, FORCE_COLOR="1")


def test_the_terminal_of_a_notebook_is_none(terminal):
    assert not is_terminal(terminal, TERM="xterm-color", FORCE_COLOR="1", JPY_PARENT_PID="1")
