"""Files that are there whole or not at all, whenever a process is killed."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the block the path of a new file, which takes the place of `path` when the block ends.

    The new file lies beside the old one and must not exist before. If the block raises, it is
    deleted and the old one stays as it was.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        _to_disk(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # Without this the rename itself may be lost with the power. Windows cannot open a folder.
    if os.name == "posix":
        _to_disk(path.parent)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file, in place of an older one only once it is complete on the disk.

    Args:
        path: the file.
        content: what it is to hold; text as UTF-8, line ends as they are.
    """
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
