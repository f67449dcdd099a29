"""Freed memory stays with the process and comes back without page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys

import numpy as np

from tensornet_jax.runtime.memory import keep_freed_memory


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(2):
    before = page_faults()
    np.ones(8_000_000)
    faults = page_faults() - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_arrays_are_cleared_by_the_system_once_and_not_every_time():
    faults = {
        mode: int(subprocess.check_output([sys.executable, "-c", PROGRAM, mode], text=True))
        for mode in ("leave", "keep")
    }
    assert faults["keep"] < faults["leave"] / 10
