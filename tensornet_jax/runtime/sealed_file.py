"""Sealed files: a JSON header and arrays in one safetensors file, which shows any later change.

Model files, restarts of simulations and training states are such files. The one metadata entry of
the safetensors file, named after what it is, holds the header as a text. Its first item is a
checksum over the rest of the text and over name, dtype, shape and bytes of every array. A sealed
file is on the disk whole or not at all, and nothing in it is ever executed.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Shaped

from tensornet_jax.runtime.whole_files import write_whole

BLANK_CHECKSUM = "0" * 64
"""Stands where the checksum will, while the checksum is computed."""

Json = dict[str, Any]
"""A JSON object, of which whoever reads it knows what its values are."""
Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
Checksum = Callable[[str, Arrays], str]
"""From the header's text with a blank checksum, and the arrays, to hexadecimal digits."""


class SealError(ValueError):
    """A file that cannot be used; a caller knows what to do about it."""


class NotSafetensorsError(SealError):
    """The file is truncated or damaged, or was never a safetensors file."""

    def __init__(self, content: bytes):
        super().__init__("not a safetensors file")
        self.content = content


class ForeignError(SealError):
    """A safetensors file of something else."""


class DamagedError(SealError):
    """The header cannot be read, or the checksum does not match."""


class OtherVersionError(SealError):
    """A version of the format that is not known here."""

    def __init__(self, header: Json):
        super().__init__(f"format version {header['format_version']}")
        self.header = header


@dataclass(frozen=True)
class SealedFormat:
    """A kind of sealed file.

    Attributes:
        entry: the metadata entry that tells this kind from all others.
        version: of the files that are written; their ``format_version``.
        earlier: how the checksums of earlier versions that can be read were computed.
        allow_nan: whether numbers in the header may be infinite or NaN, which are no JSON: only
            for files that no other program reads.
    """

    entry: str
    version: int
    earlier: Mapping[int, Checksum] = field(default_factory=dict)
    allow_nan: bool = False

    def write(self, path: Path, header: Json, arrays: Arrays) -> None:
        """Write a file, in place of an older one only once it is complete on the disk.

        Args:
            path: the file.
            header: plain values; ``sha256`` and ``format_version`` are put before them.
            arrays: by name.

        Raises:
            ValueError: the header has a number that is not finite.
            TypeError: the header holds something that JSON cannot.
        """
        whole = {"sha256": BLANK_CHECKSUM, "format_version": self.version, **header}
        text = json.dumps(whole, allow_nan=self.allow_nan, ensure_ascii=False, indent=1)
        # safetensors takes the memory as it lies, strides ignored.
        arrays = {name: np.array(value, order="C") for name, value in arrays.items()}
        text = text.replace(BLANK_CHECKSUM, checksum(text, arrays), 1)
        write_whole(path, safetensors.numpy.save(arrays, {self.entry: text}))

    def read(self, path: Path) -> tuple[Json, dict[str, Shaped[np.ndarray, "..."]]]:
        """Return header and arrays of a file of this or an earlier version.

        Raises:
            FileNotFoundError: there is no such file.
            NotSafetensorsError, ForeignError, DamagedError, OtherVersionError: it cannot be used.
        """
        content = path.read_bytes()
        try:
            arrays = safetensors.numpy.load(content)
            length = int.from_bytes(content[:8], "little")
            entries = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        # KeyError: a dtype numpy does not have.
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise NotSafetensorsError(content) from error
        if set(entries) != {self.entry}:
            raise ForeignError(f"no sealed file of {self.entry}")
        text = entries[self.entry]
        try:
            header = json.loads(text)
            stated = header["sha256"]
            blank = text.replace(stated, BLANK_CHECKSUM, 1)
            computed = {**self.earlier, self.version: checksum}.get(header["format_version"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError("its header cannot be read") from error
        # Another version may compute its checksum in another way: this is to be said first.
        if computed is None:
            raise OtherVersionError(header)
        if stated != computed(blank, arrays):
            raise DamagedError("its checksum does not match its content")
        return header, arrays


def checksum(text: str, arrays: Arrays) -> str:
    """Return the SHA-256 of a header's text and of all arrays, by name, in hexadecimal digits."""
    digest = hashlib.sha256()

    def add(part: bytes) -> None:
        # With its length first, no part can pass for the end of the one before it.
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    add(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        add(name.encode())
        add(f"{array.dtype.name}{array.shape}".encode())
        add(array.tobytes())
    return digest.hexdigest()
