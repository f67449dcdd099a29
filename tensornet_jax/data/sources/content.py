"""Checksums of large files, computed again only where the file may have changed."""

import json
from collections.abc import Callable
from pathlib import Path

from tensornet_jax.runtime.whole_files import sha256_of, write_whole

_WORTH_A_WORD = 1 << 30


class Checksums:
    """The SHA-256 of files, kept in a folder with the size and time of the file they are of.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path):
        self._path = folder / "checksums.json"
        try:
            self._known: dict[str, list[object]] = json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            self._known = {}

    def of(self, path: Path, message: Callable[[str], None]) -> str:
        """Return the checksum of a file.

        Args:
            path: the file.
            message: is told where it will take long.
        """
        name, found = str(path.resolve()), path.stat()
        state: list[object] = [found.st_size, found.st_mtime_ns]
        known = self._known.get(name)
        if known is not None and known[:2] == state:
            return str(known[2])
        if found.st_size > _WORTH_A_WORD:
            message(f"{path}: reading {found.st_size / 1e9:.0f} GB once, for its checksum")
        checksum = sha256_of(path)
        self._known[name] = [*state, checksum]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(self._known, indent=1) + "\n")
        return checksum
