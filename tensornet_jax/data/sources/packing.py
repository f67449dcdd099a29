"""Write packed files: any number of structures, one after the other, in little memory."""

import hashlib
import json
import struct
import zlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.sources.packed_file import HEAD, PREAMBLE, SUFFIX, Field, preamble
from tensornet_jax.runtime.whole_files import replacing

Numbers = Literal["float64", "float32"]
_KEPT = {"numbers", "positions", "initial_charges", "config_type", "head", "charge", "spin"}
# A record names its fields by bits.
_MOST_FIELDS = 64


@contextmanager
def packing(path: Path, dtype: Numbers = "float64") -> Iterator["Packer"]:
    """Give the block a packer, and put the file in its place when the block ends.

    If the block raises, nothing is written and an older file stays as it was.

    Args:
        path: the file; its name ends in SUFFIX.
        dtype: of positions, cells, and labels of atoms and of rank 1 or higher; float64 loses
            nothing. Energies, other scalars and weights are float64 in any case.

    Raises:
        ValueError: the name has another ending, or no structure was given.
    """
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"{path}: is written as a packed file: name it {path.stem}{SUFFIX}")
    with replacing(path) as partial, partial.open("wb") as file:
        packer = Packer(file, dtype)
        yield packer
        if not len(packer):
            raise ValueError(f"{path}: there are no structures to pack")
        packer.finish()


class Packer:
    """A packed file that is being written.

    Args:
        file: open for writing, empty.
        dtype: as in `packing`.

    Attributes:
        dropped: names of what structures had and the file does not keep.
        present: the keys that files had which a copy is made of, if it is to remember them.
    """

    def __init__(self, file: BinaryIO, dtype: Numbers):
        self._file = file
        self._dtype = np.dtype(dtype).newbyteorder("<").str
        self._digest = hashlib.sha256()
        self._offsets = array("q", [0])
        self._fields: dict[str, tuple[int, Field]] = {}
        self._files: dict[str, int] = {}
        self._config_types: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._keys: dict[tuple[tuple[str, str], ...], int] = {}
        self.dropped: dict[str, None] = {}
        self.present: Collection[str] | None = None
        file.write(bytes(PREAMBLE))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(self, structure: LabelledStructure) -> None:
        """Write one structure.

        Raises:
            ValueError: a label has another shape than in the structures before.
        """
        bits, parts = 0, []
        for (bit, field), value in self._values(structure):
            bits |= 1 << bit
            parts.append(np.ascontiguousarray(value, field.dtype).tobytes())
        file, _, name = structure.source.rpartition(":")
        content = b"".join([*parts, name.encode()])
        head = np.zeros((), HEAD)
        head["atoms"], head["fields"] = len(structure), bits
        head["file"] = self._files.setdefault(file, len(self._files))
        group = structure.config_type
        head["config_type"] = (
            -1 if group is None else self._config_types.setdefault(group, len(self._config_types))
        )
        keys = tuple(sorted(structure.keys.items()))
        head["keys"] = self._keys.setdefault(keys, len(self._keys))
        head["pbc"] = sum(1 << axis for axis in range(3) if structure.atoms.pbc[axis])
        spin = structure.state.spin
        head["charge"] = structure.state.charge
        head["spin"] = np.nan if spin is None else spin
        head["free_energy"] = structure.free_energy
        covered = head.tobytes()[4:] + content
        record = struct.pack("<I", zlib.crc32(covered)) + covered
        self._write(record)
        self._offsets.append(self._offsets[-1] + len(record))
        self.dropped |= dict.fromkeys(_others(structure))

    def finish(self) -> None:
        """Write the offsets, the description and the preamble."""
        records = self._offsets[-1]
        # Arrays of numbers begin at multiples of eight bytes.
        self._write(bytes(-records % 8))
        records += -records % 8
        places = {"records": ("U8", records, (0, records))}
        offsets = np.frombuffer(self._offsets, np.int64).astype("<i8")
        self._write(offsets.tobytes())
        end = records + offsets.nbytes
        places["offsets"] = ("I64", len(offsets), (records, end))
        text = json.dumps(self._description()).encode()
        self._write(text)
        places["description"] = ("U8", len(text), (end, end + len(text)))
        self._file.seek(0)
        self._file.write(preamble(places, self._digest.hexdigest()))

    def _write(self, content: bytes) -> None:
        self._digest.update(content)
        self._file.write(content)

    def _values(
        self, structure: LabelledStructure
    ) -> Iterator[tuple[tuple[int, Field], np.ndarray]]:
        """Yield the fields of a structure in the order of their bits, with their values."""
        atoms = structure.atoms
        given: dict[str, tuple[str, bool, Any]] = {
            "numbers": ("|u1", True, atoms.numbers),
            "positions": (self._dtype, True, atoms.positions),
        }
        if atoms.cell.array.any():
            given["cell"] = (self._dtype, False, atoms.cell.array)
        if atoms.has("initial_charges"):
            given["initial_charges"] = ("<f8", True, atoms.get_initial_charges())
        if structure.head is not None:
            place = self._heads.setdefault(structure.head, len(self._heads))
            given["head"] = ("<i4", False, place)
        for name, value in structure.labels.items():
            of_atoms = name in structure.labels.of_atoms
            dtype = self._dtype if value.ndim else "<f8"
            given[f"label.{name}"] = (dtype, of_atoms, value)
        if structure.weights.structure is not None:
            given["weight"] = ("<f8", False, structure.weights.structure)
        for name, weight in structure.weights.labels.items():
            given[f"weight.{name}"] = ("<f8", False, weight)
        found = [
            (self._field(name, dtype, of_atoms, np.shape(value), structure.source), value)
            for name, (dtype, of_atoms, value) in given.items()
        ]
        yield from sorted(found, key=lambda each: each[0][0])

    def _field(
        self, name: str, dtype: str, of_atoms: bool, shape: Sequence[int], source: str
    ) -> tuple[int, Field]:
        row = tuple(int(size) for size in shape[1 if of_atoms else 0 :])
        field = Field(name, dtype, "atom" if of_atoms else "structure", row)
        bit, known = self._fields.setdefault(name, (len(self._fields), field))
        if known != field:
            raise ValueError(
                f"{source}: {name.removeprefix('label.')} is of each {field.per} and has shape "
                f"{field.shape}, and in structures before it is of each {known.per} and has shape "
                f"{known.shape}: one file holds labels of one shape only"
            )
        if bit >= _MOST_FIELDS:
            raise ValueError(f"{source}: more than {_MOST_FIELDS} kinds of labels and weights")
        return bit, known

    def _description(self) -> dict[str, object]:
        fields = [field for _, field in self._fields.values()]
        present = {} if self.present is None else {"present": sorted(self.present)}
        return {
            "structures": len(self),
            "fields": [vars(field) for field in fields],
            "files": list(self._files),
            "config_types": list(self._config_types),
            "heads": list(self._heads),
            "keys": [dict(keys) for keys in self._keys],
            **present,
        }


def _others(structure: LabelledStructure) -> Iterator[str]:
    """Yield the names of what only the Atoms of a structure have, and no training uses."""
    atoms = structure.atoms
    yield from (name for name in (*atoms.arrays, *atoms.info) if name not in _KEPT)
    if atoms.constraints:
        yield "constraints"
