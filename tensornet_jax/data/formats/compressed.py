"""Files as text, whether they are compressed or not."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".lzma": lzma.open,
}
_REFUSED = {".zip", ".tar", ".tgz", ".7z", ".zst", ".rar", ".z"}


def inner_name(path: Path) -> Path:
    """Return the path without the suffix of its compression.

    Raises:
        ValueError: an archive, or a compression that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _REFUSED:
        raise ValueError(f"{path}: {suffix} files are not read: unpack it, or use .gz, .bz2 or .xz")
    return path.with_suffix("") if suffix in _OPENERS else path


def is_compressed(path: Path) -> bool:
    """Return whether the suffix is that of a compression."""
    return path.suffix.lower() in _OPENERS


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file, compressed or not, as UTF-8, or UTF-16 where it says so.

    Raises:
        ValueError: while it is read, that its compressed content is damaged or cut off.
    """
    opener = _OPENERS.get(path.suffix.lower(), io.open)
    try:
        with opener(path, "rb") as raw:
            start = raw.read(2)
        encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        # Bytes that are not UTF-8 stand in comments, where they do no harm.
        with opener(path, "rt", encoding=encoding, errors="replace") as stream:
            yield stream
    except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # it names the file
        raise ValueError(f"{path}: cannot be decompressed: {error}") from error
