"""Scripts that run where this package is not installed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.builders import unoptimized

# Refuses what an MD engine's author need not have, then runs a script given on standard input.
BLOCKED = (
    "tensornet_jax",
    "flax",
    "ase",
    "e3nn_jax",
    "optax",
    "matscipy",
    "pydantic",
    "safetensors",
)
ISOLATED = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"blocked: {{name}}")

sys.meta_path.insert(0, Blocker())
exec(compile(sys.stdin.read(), "script", "exec"))
"""


def run_without_the_package(script: str, folder: Path) -> str:
    """Run a script in a folder, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", ISOLATED],
        input=script,
        cwd=folder,
        # Compiling for every size would dominate.
        env=os.environ | unoptimized(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
