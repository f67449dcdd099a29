"""The run directory among several processes: the first one's; the others work on a copy of it.

Every process reads the same configuration, split, start and checkpoints, as if the directory were
its own, and what it writes by the way goes nowhere. The file systems need not be shared.
"""

import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tensornet_jax.runtime.processes import bytes_from_first, is_first, several_processes
from tensornet_jax.train.failure import TrainingError
from tensornet_jax.train.run_directory import RunDirectory


@contextmanager
def shared(path: str | Path) -> Iterator[tuple[RunDirectory, bool]]:
    """Hold a run directory, and give it and whether it holds a run; every process calls this.

    Raises:
        InUseError: another run is in it; the other processes of this one raise TrainingError.
    """
    directory = RunDirectory(path)
    if is_first():
        with _told_to_others(directory) as begun:
            yield directory, begun
        return
    told = json.loads(bytes_from_first(b""))
    if "problem" in told:
        raise TrainingError(f"process 0: {told['problem']}")
    with tempfile.TemporaryDirectory(prefix="tensornet_jax_") as copy:
        with tarfile.open(fileobj=io.BytesIO(bytes_from_first(b""))) as archive:
            archive.extractall(copy, filter="data")
        yield RunDirectory(copy), told["begun"]


@contextmanager
def _told_to_others(directory: RunDirectory) -> Iterator[bool]:
    """Hold the directory, and send the other processes what they have to know of it."""
    with ExitStack() as stack:
        try:
            begun = stack.enter_context(directory.held())
        except Exception as error:
            bytes_from_first(json.dumps({"problem": str(error)}).encode())
            raise
        if several_processes():
            bytes_from_first(json.dumps({"begun": begun}).encode())
            bytes_from_first(_packed(directory))
        yield begun


def _packed(directory: RunDirectory) -> bytes:
    """Return an archive of what a run that goes on reads."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path in directory.read_when_resumed():
            archive.add(path, path.relative_to(directory.path))
    return file.getvalue()
