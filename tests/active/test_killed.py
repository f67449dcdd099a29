"""Loops in processes of their own, which nothing can keep from being killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tensornet_jax.config import dump_config
from tests.active.small import choices, loop, write_files

COMMAND = "from tensornet_jax.cli import app; app()"
PATIENCE = 600.0  # s


def start(folder: Path, directory: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    arguments = ("active", "active.yaml", "--set", f"directory={directory}", "--set", "rounds=1")
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_kill_9_in_every_stage_leaves_the_same_choices(tmp_path):
    write_files(tmp_path)
    (tmp_path / "active.yaml").write_text(dump_config(loop()), encoding="utf-8")
    assert start(tmp_path, "whole").wait(PATIENCE) == 0
    first = tmp_path / "killed" / "round-000"
    signs = (
        first / "train" / "checkpoints",
        first / "explore" / "00-volume-1.restart",
        first / "selected",
        first / "labelled",
        tmp_path / "killed" / "round-001" / "train" / "config.yaml",
    )
    for sign in signs:
        process, begun = start(tmp_path, "killed"), time.monotonic()
        while process.poll() is None and not sign.exists():
            assert time.monotonic() - begun < PATIENCE
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        assert process.wait() in (0, -9), sign
    assert start(tmp_path, "killed").wait(PATIENCE) == 0
    found, expected = (choices(tmp_path / name) for name in ("killed", "whole"))
    assert found.keys() == expected.keys()
    # Frames are named by their files, which lie in different folders.
    for name, content in found.items():
        if name.endswith((".xyz", ".csv")):
            assert content.replace(b"killed/", b"whole/") == expected[name], name
