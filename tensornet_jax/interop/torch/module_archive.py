"""The zip archive of torch.save: a pickle, and the numbers of its tensors beside it.

torch stores everything uncompressed. What is compressed, overlaps or claims to be larger than the
file is refused before any of it is read.
"""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

_DTYPES = {
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "?",
    "BFloat16": "<u2",
}
STORAGES = tuple(f"{name}Storage" for name in _DTYPES)
"""Names of torch's storages that can be read."""

_SMALL = 2**16
"""Numbers that a tensor may have even where its storage has fewer, because it repeats them."""


class Storage(NamedTuple):
    """Numbers in a row: torch's name of their kind, the entry they stand in, and how many."""

    kind: str
    key: str
    length: int


class ModuleArchive:
    """A file of torch.save (torch ≥ 1.6) and its entries."""

    def __init__(self, path: Path):
        """Open a file.

        Raises:
            ValueError: it is no such archive, damaged, or larger inside than outside.
            FileNotFoundError: there is no such file.
        """
        self.path = path
        with path.open("rb") as file:
            start = file.read(4)
        if start != b"PK\x03\x04":
            raise ValueError(
                f"{path} is not a file of torch.save (a zip archive). Where it is one of torch "
                "before 1.6, load it in the program that wrote it and save it again"
            )
        try:
            self._zip = zipfile.ZipFile(path)
            entries = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise ValueError(f"{path} is truncated or damaged: {error}") from error
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError(f"{path} is compressed, which torch.save never does: it is refused")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError(f"the entries of {path} are larger than the file: it is refused")
        pickles = [e.filename for e in entries if e.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"{path} has no data.pkl, as files of torch.save do")
        self._folder = pickles[0].removesuffix("data.pkl")
        self._names = {entry.filename for entry in entries}
        if self._has("byteorder") and self.entry("byteorder") != b"little":
            raise ValueError(f"{path} was written on a machine of other byte order: save it again")

    def entry(self, name: str) -> bytes:
        """Return the content of an entry."""
        try:
            return self._zip.read(self._folder + name)
        except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
            raise ValueError(f"{self.path}: {name} is missing or damaged: {error}") from error

    def _has(self, name: str) -> bool:
        return self._folder + name in self._names

    def tensor(
        self, storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]
    ) -> Shaped[np.ndarray, "..."]:
        """Return a tensor as an array of its own; bfloat16, which numpy lacks, as float32.

        Raises:
            ValueError: it reaches beyond its storage, or repeats its numbers too often.
        """
        kind = storage.kind.removesuffix("Storage")
        numbers = np.frombuffer(self.entry(f"data/{storage.key}"), _DTYPES[kind])
        if kind == "BFloat16":
            numbers = (numbers.astype("<u4") << 16).view("<f4")
        if len(shape) != len(strides) or min([offset, *shape, *strides]) < 0:
            raise ValueError(f"{self.path}: a tensor has shape {shape} and strides {strides}")
        size = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if size and (last >= len(numbers) or size > max(len(numbers), _SMALL)):
            raise ValueError(f"{self.path}: a tensor of shape {shape} is larger than its storage")
        if not size:
            return np.zeros(shape, numbers.dtype)
        steps = [step * numbers.itemsize for step in strides]
        view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
        return np.array(view, order="C")
