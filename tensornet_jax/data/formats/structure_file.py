"""Files that grow by one structure after the other, so that what is finished is never lost.

Every structure is in the file as soon as `append` has returned, also for a process that is killed.
Each carries its place in the input, `info["input_index"]`: a file that was left unfinished tells
itself what it has.
"""

import os
import re
import sqlite3
import warnings
from abc import ABC, abstractmethod
from io import StringIO
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.db.core import check as check_pairs
from ase.io.extxyz import write_xyz
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from ase.io.jsonio import encode
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

INDEX = "input_index"
CONVERGED = "converged"
_ULM_HEADER = 56


class StructureFile(ABC):
    """A file of structures that is open for appending.

    arrays: whether it holds arrays of the atoms under any name; else they stand in `info`.
    """

    arrays = False

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def kept(self) -> dict[int, bool]:
        """Return the input index of each structure in the file, and whether it converged.

        What was being written when a process was killed is cut off.

        Raises:
            ValueError: the file holds structures without an index, or is damaged.
        """

    @abstractmethod
    def append(self, atoms: Atoms) -> None:
        """Write one structure with its results, info and arrays; it is in the file on return."""

    def close(self) -> None:
        """Close the file; the next structure opens it again."""
        return

    def _index(self, info: dict[str, Any]) -> int:
        if INDEX not in info:
            raise ValueError(
                f"{self.path}: has structures without {INDEX}, so another program wrote it: "
                "choose another output"
            )
        return int(info[INDEX])


class ExtendedXyz(StructureFile):
    """Extended XYZ; a frame is one write to the system."""

    arrays = True

    def kept(self) -> dict[int, bool]:
        """Return index → converged; an incomplete last frame is cut off."""
        found: dict[int, bool] = {}
        with self.path.open("r+b") as file:
            while True:
                start = file.tell()
                count = file.readline()
                if not count:
                    return found
                comment = file.readline()
                lines = [count, comment]
                if count.endswith(b"\n"):
                    if not count.strip().isdigit():
                        raise ValueError(
                            f"{self.path}: {count[:40]!r} is no number of atoms: the file is "
                            "damaged, or another program wrote it"
                        )
                    lines += [file.readline() for _ in range(int(count))]
                if not all(line.endswith(b"\n") for line in lines):
                    file.truncate(start)
                    return found
                pairs = re.findall(rb"(?:^|\s)(input_index|converged)=(\S+)", comment)
                info = {key.decode(): value.decode() for key, value in pairs}
                found[self._index(info)] = info.get(CONVERGED, "T") == "T"

    def append(self, atoms: Atoms) -> None:
        """Write one frame behind the others."""
        text = StringIO()
        write_xyz(text, [atoms])
        data = memoryview(text.getvalue().encode())
        with self.path.open("ab", buffering=0) as file:
            start = file.seek(0, os.SEEK_END)
            try:
                while data:
                    data = data[file.write(data) :]
            except OSError:
                # A full disk must not leave half a frame behind the finished ones.
                file.truncate(start)
                raise


class AseTrajectory(StructureFile):
    """ASE's .traj, whose count of frames is written last."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._writer: TrajectoryWriter | None = None

    def kept(self) -> dict[int, bool]:
        """Return index → converged."""
        if self.path.stat().st_size < _ULM_HEADER:
            self.path.unlink()
            return {}
        try:
            with TrajectoryReader(self.path) as frames:
                read: Any = frames
                infos = [atoms.info for atoms in read]
        except Exception as error:  # ASE's reader raises nearly every type there is
            raise ValueError(f"{self.path}: cannot be read: {error}") from error
        return {self._index(info): bool(info.get(CONVERGED, True)) for info in infos}

    def append(self, atoms: Atoms) -> None:
        """Write one frame behind the others."""
        if self._writer is None:
            self._writer = TrajectoryWriter(self.path, "a")
        self._writer.write(_with_info_only(atoms))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class AseDatabase(StructureFile):
    """ASE's SQLite database; a structure is one transaction."""

    def kept(self) -> dict[int, bool]:
        """Return index → converged."""
        try:
            with self._connected(self.path) as database:
                rows = [row.key_value_pairs for row in database.select()]
        except (sqlite3.DatabaseError, KeyError) as error:
            raise ValueError(f"{self.path}: cannot be read: {error}") from error
        return {self._index(pairs): bool(pairs.get(CONVERGED, True)) for pairs in rows}

    def append(self, atoms: Atoms) -> None:
        """Write one row."""
        plain = _with_info_only(atoms)
        pairs = {key: value for key, value in plain.info.items() if _is_pair(key, value)}
        data = {key: value for key, value in plain.info.items() if key not in pairs}
        if not self.path.exists():
            # Its tables are several transactions, of which a kill would leave the first ones.
            beside = _beside(self.path)
            beside.unlink(missing_ok=True)
            with self._connected(beside) as database:
                database.count()
            beside.replace(self.path)
        with self._connected(self.path) as database:
            database.write(plain, pairs, data=data)

    @staticmethod
    def _connected(path: Path) -> Any:
        # ASE's own lock file outlives a killed process, and the next one would wait for ever. Used
        # as a context, or ASE opens a connection for every query and closes none.
        return ase.db.connect(path, use_lock_file=False)


class OneStructure(StructureFile):
    """Any other format that ASE writes, for a single structure; written beside and renamed."""

    def kept(self) -> dict[int, bool]:
        """Refuse: such files do not say what they hold."""
        raise ValueError(
            f"{self.path}: a file of this format cannot be continued: use --force, or a name that "
            f"ends in {', '.join(GROWING)}"
        )

    def append(self, atoms: Atoms) -> None:
        """Write the file."""
        name = filetype(self.path.name, read=False)
        beside = _beside(self.path)
        ase.io.write(beside, atoms, format=name)
        beside.replace(self.path)


GROWING: dict[str, type[StructureFile]] = {
    ".xyz": ExtendedXyz,
    ".extxyz": ExtendedXyz,
    ".traj": AseTrajectory,
    ".db": AseDatabase,
}
"""Formats of any number of structures, by suffix."""


def structure_file(path: Path, *, only_growing: bool = False) -> StructureFile:
    """Return the file of the format that its suffix names; nothing is written yet.

    Args:
        path: the file.
        only_growing: refuse formats that hold neither many structures nor predictions.

    Raises:
        ValueError: no format of this name can be written.
    """
    growing = GROWING.get(path.suffix.lower())
    if growing is not None:
        return growing(path)
    known = ", ".join(GROWING)
    if not only_growing:
        try:
            form = ioformats[filetype(path.name, read=False)]
        except (UnknownFileTypeError, KeyError):
            form = None
        if form is not None and form.can_write:
            return OneStructure(path)
        known += ", or, for a single structure, any other format that ASE writes"
    raise ValueError(f"{path}: no format is known by this name: end it in {known}")


def _beside(path: Path) -> Path:
    """Return a name in the same folder under which a file is made before it gets its own."""
    return path.with_name(f".writing.{path.name}")


def _with_info_only(atoms: Atoms) -> Atoms:
    """Return a copy with arrays that only extended XYZ has moved into info, values plain."""
    plain = atoms.copy()
    plain.calc = atoms.calc
    for name in set(plain.arrays) - _ARRAYS_OF_ASE:
        plain.info[name] = plain.arrays.pop(name)
    for key, value in plain.info.items():
        try:
            encode(value)
        except TypeError:
            plain.info[key] = str(value)
    return plain


_ARRAYS_OF_ASE = {
    *("numbers", "positions", "tags", "momenta", "masses", "initial_magmoms", "initial_charges"),
}


def _is_pair(key: str, value: object) -> bool:
    """Tell whether ASE's databases take this as a key-value pair."""
    if not isinstance(key, str) or isinstance(value, np.ndarray):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_pairs({key: value})
        except (ValueError, UserWarning):
            return False
    return True
