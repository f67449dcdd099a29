"""A fork is noticed where JAX has started, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
from tensornet_jax.runtime.forked import ForkedError, check_not_forked, is_forked
{before}
child = os.fork()
if child == 0:
    try:
        check_not_forked()
        os._exit(3 if is_forked() else 0)
    except ForkedError:
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("", 0),
        ("check_not_forked()", 7),
        ("import jax", 0),
        ("import jax, jax.numpy; jax.numpy.ones(1); check_not_forked()", 7),
        ("import jax, jax.numpy; jax.numpy.ones(1)", 7),
    ],
)
def test_only_a_child_of_a_process_that_has_started_jax_is_refused(before, code):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE.format(before=before)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == str(code), done.stderr
