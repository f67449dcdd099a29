"""Packed files: labelled structures as records that are found by index and read one at a time.

A packed file is a safetensors file of three arrays: ``records``, all bytes of all records;
``offsets`` (M + 1), int64, where each begins and the last one ends; and ``description``, a JSON
text. Everything is little-endian, in eV and Å, and nothing in it is ever executed. A record is
`HEAD`, then the fields of the description whose bits its head has set, in their order, each as a
C-ordered array (with a row for each atom where ``per`` is atom), then the name of the frame in its
file as UTF-8. Its checksum (CRC-32) covers all that follows it; the one of the file, in the
metadata, is the SHA-256 of the three arrays. `docs/data.md` describes the description.
"""

import hashlib
import json
import math
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from ase import Atoms
from jaxtyping import Int64

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.electronic_state import ElectronicState
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.labels.weights import Weights
from tensornet_jax.data.sources.source import Source
from tensornet_jax.runtime.sealed_file import Json

SUFFIX = ".packed"
ENTRY = "tensornet_jax.packed"
VERSION = 1
# Bytes before the arrays: the length of the header, and the header, padded with blanks.
PREAMBLE = 1024
HEAD = np.dtype(
    [
        ("crc32", "<u4"),
        ("atoms", "<u4"),
        ("fields", "<u8"),
        ("file", "<i4"),
        ("config_type", "<i4"),
        ("keys", "<i4"),
        ("pbc", "<u4"),
        ("charge", "<f8"),
        ("spin", "<f8"),
        ("free_energy", "<f8"),
    ]
)
_CHUNK = 1 << 24
_MOVING = threading.Lock()


@dataclass(frozen=True)
class Field:
    """What records may have.

    Attributes:
        name: numbers, positions, cell, initial_charges, head, label.NAME, weight or weight.NAME.
        dtype: of numpy, with its byte order.
        per: what it has a row for.
        shape: of a row.
    """

    name: str
    dtype: str
    per: Literal["atom", "structure"]
    shape: tuple[int, ...]

    def shape_for(self, atoms: int) -> tuple[int, ...]:
        """Return the shape of the field in a record of so many atoms."""
        return (atoms, *self.shape) if self.per == "atom" else self.shape


class PackedFile(Source):
    """The structures of a packed file.

    The file stays open, and is read by position, so that no page of it counts as memory of the
    process.

    Args:
        path: the file.

    Attributes:
        path: the file.
        checksum: SHA-256 of the content, as it was written.
        labels: names of the labels that structures have.
        present: of a copy, the keys that its file has; None where that is not known.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is cut off, damaged, of another version, or no packed file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            arrays, self.checksum = _preamble(path, self._descriptor)
            self._records = PREAMBLE + arrays["records"][0]
            self._num = (arrays["offsets"][1] - arrays["offsets"][0]) // 8 - 1
            self._offsets: Int64[np.ndarray, " structures+1"] = np.memmap(
                path, "<i8", "r", PREAMBLE + arrays["offsets"][0], (self._num + 1,)
            )
            self._end = PREAMBLE + max(end for _, end in arrays.values())
            start, end = (PREAMBLE + place for place in arrays["description"])
            description = json.loads(self._bytes(start, end - start))
            self._fields = tuple(
                Field(**(each | {"shape": tuple(each["shape"])})) for each in description["fields"]
            )
            self._files: list[str] = description["files"]
            self._config_types: list[str] = description["config_types"]
            # Files of earlier versions have none.
            self._heads: list[str] = description.get("heads", [])
            self.present: list[str] | None = description.get("present")
            self._keys: list[dict[str, str]] = description["keys"]
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            os.close(self._descriptor)
            raise ValueError(f"{path}: is damaged: pack it again") from error
        except BaseException:
            os.close(self._descriptor)
            raise

    def __del__(self) -> None:
        # Where __init__ has raised the descriptor is closed, and this attribute is not there.
        if hasattr(self, "_keys"):
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[type["PackedFile"], tuple[Path]]:
        return PackedFile, (self.path,)

    def __len__(self) -> int:
        return self._num

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that some structure has."""
        prefix = "label."
        names = (field.name for field in self._fields)
        return tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def read(self, index: int) -> LabelledStructure:
        """Read one structure and check its checksum."""
        head, body = self._record(index)
        atoms = int(head["atoms"])
        values, start = {}, 0
        for bit, field in enumerate(self._fields):
            if int(head["fields"]) >> bit & 1:
                shape = field.shape_for(atoms)
                count = math.prod(shape)
                values[field.name] = np.frombuffer(body, field.dtype, count, start).reshape(shape)
                start += count * np.dtype(field.dtype).itemsize
        name = str(body[start:], "utf-8")
        return self._structure(head, values, self._source(int(head["file"]), name))

    def source(self, index: int) -> str:
        """Return file and frame that a structure was packed from."""
        head, body = self._record(index)
        atoms = int(head["atoms"])
        start = sum(
            math.prod(field.shape_for(atoms)) * np.dtype(field.dtype).itemsize
            for bit, field in enumerate(self._fields)
            if int(head["fields"]) >> bit & 1
        )
        return self._source(int(head["file"]), str(body[start:], "utf-8"))

    def verify(self) -> Iterator[int]:
        """Check the whole file against its checksum, yielding the bytes done so far.

        Raises:
            ValueError: the content is not what was written.
        """
        digest = hashlib.sha256()
        for start in range(PREAMBLE, self._end, _CHUNK):
            digest.update(self._bytes(start, min(_CHUNK, self._end - start)))
            yield start
        if digest.hexdigest() != self.checksum:
            self._damaged("its checksum does not match its content")

    def _structure(
        self, head: np.void, values: Mapping[str, np.ndarray], source: str
    ) -> LabelledStructure:
        charge, spin = float(head["charge"]), float(head["spin"])
        pbc = [bool(int(head["pbc"]) >> axis & 1) for axis in range(3)]
        atoms = Atoms(values["numbers"], np.array(values["positions"], np.float64), pbc=pbc)
        if "cell" in values:
            atoms.set_cell(np.array(values["cell"], np.float64))
        if "initial_charges" in values:
            atoms.set_initial_charges(values["initial_charges"])
        if head["config_type"] >= 0:
            atoms.info["config_type"] = self._config_types[head["config_type"]]
        if "head" in values:
            atoms.info["head"] = self._heads[int(values["head"])]
        of_atoms = frozenset(
            field.name.removeprefix("label.") for field in self._fields if field.per == "atom"
        )
        own = _after("weight.", values)
        whole = values.get("weight")
        return LabelledStructure(
            atoms,
            Labels(len(atoms), _after("label.", values), of_atoms),
            ElectronicState(charge, None if math.isnan(spin) else _whole(spin)),
            Weights(
                None if whole is None else float(whole),
                {name: float(value) for name, value in own.items()},
            ),
            float(head["free_energy"]),
            source,
            self._keys[head["keys"]],
        )

    def _record(self, index: int) -> tuple[np.void, memoryview]:
        """Return the head of a record and what follows it."""
        start, end = (int(place) for place in self._offsets[index : index + 2])
        content = self._bytes(self._records + start, end - start)
        head = np.frombuffer(content, HEAD, 1)[0]
        if zlib.crc32(memoryview(content)[4:]) != head["crc32"]:
            self._damaged(f"structure {index} does not match its checksum")
        return head, memoryview(content)[HEAD.itemsize :]

    def _source(self, file: int, name: str) -> str:
        return f"{self._files[file]}:{name}"

    def _bytes(self, start: int, count: int) -> bytes:
        content = _read_at(self._descriptor, count, start)
        if len(content) != count or count < 0:
            self._damaged("it ends before it should")
        return content

    def _damaged(self, what: str) -> NoReturn:
        raise ValueError(
            f"{self.path}: is damaged, {what}: restore it from a copy, or pack the data again"
        )


def is_packed(path: Path) -> bool:
    """Return whether a file begins like a packed file."""
    with path.open("rb") as file:
        return f'"{ENTRY}"'.encode() in file.read(PREAMBLE)


def preamble(arrays: Mapping[str, tuple[str, int, tuple[int, int]]], checksum: str) -> bytes:
    """Return the first bytes of a packed file.

    Args:
        arrays: dtype as safetensors calls it, length, and place after the preamble, by name.
        checksum: SHA-256 of all of them.
    """
    header: Json = {"__metadata__": {ENTRY: str(VERSION), "sha256": checksum}}
    for name, (dtype, length, place) in arrays.items():
        header[name] = {"dtype": dtype, "shape": [length], "data_offsets": list(place)}
    text = json.dumps(header).encode().ljust(PREAMBLE - 8)
    return len(text).to_bytes(8, "little") + text


def _preamble(path: Path, descriptor: int) -> tuple[dict[str, tuple[int, int]], str]:
    """Return where the arrays of a packed file are, after the preamble, and its checksum."""
    begin = _read_at(descriptor, PREAMBLE, 0)
    try:
        header = json.loads(begin[8:])
        metadata = header.pop("__metadata__")
        version, checksum = metadata[ENTRY], metadata["sha256"]
        arrays = {name: tuple(each["data_offsets"]) for name, each in header.items()}
        end = PREAMBLE + max(place[1] for place in arrays.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is no packed file, or its beginning is damaged: pack the data again with "
            "tensornet-jax data pack"
        ) from error
    if version != str(VERSION):
        raise ValueError(
            f"{path}: is a packed file of version {version}, and this version of tensornet_jax "
            f"reads version {VERSION}: pack the data again, or use the version that wrote it"
        )
    size = os.fstat(descriptor).st_size
    if size != end:
        what = "is cut off" if size < end else "has something behind its end"
        raise ValueError(
            f"{path}: {what}, it has {size} bytes instead of {end}: restore it from a copy, or "
            "pack the data again"
        )
    return arrays, checksum


def _read_at(descriptor: int, count: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, start)
    # Windows has no call that moves to a place and reads there in one.
    with _MOVING:
        os.lseek(descriptor, start, os.SEEK_SET)
        return os.read(descriptor, count)


def _after(prefix: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): value for n, value in values.items() if n.startswith(prefix)}


def _whole(number: float) -> int | float:
    return int(number) if number.is_integer() else number
