"""One writer for each set of output files: a lock that ends with the process that holds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


class InUseError(ValueError):
    """Another process writes these files; the text says which, and what to do."""


@contextmanager
def exclusive(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Hold the lock of an output until the block is left; the system frees it after a `kill -9`.

    The lock is the operating system's own on the file `path`; the file may stay behind, empty,
    which means nothing.

    Args:
        path: the lock file; its folder must exist.
        what: that which is locked, as the message names it.
        remedy: what to do about it, as the message ends.

    Raises:
        InUseError: another process holds it.
    """
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InUseError(
            f"{what} is in use: another process is writing to it (it holds {path}): {remedy}"
        ) from None
    except NotImplementedError as error:
        raise OSError(
            f"{path}: this file system has no locks, so that two runs could write the same files: "
            "write to another file system"
        ) from error
    try:
        yield
    finally:
        lock.release()
