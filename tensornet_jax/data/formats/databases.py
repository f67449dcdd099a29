"""Read ASE databases: SQLite (.db), JSON (.json) and LMDB (.aselmdb)."""

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import ase.db
import numpy as np
from ase.db.row import AtomsRow
from jaxtyping import Int64

from tensornet_jax.data.formats.compressed import inner_name, open_text
from tensornet_jax.data.formats.frame import FileFormat, Frame
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.stated_units import StatedUnits, stated_in

# ASE's databases have attributes by backend, which no class of theirs declares.
Database: TypeAlias = Any


class DatabaseRows:
    """The rows of an ASE database, each read when it is asked for.

    SQLite and LMDB (`.db`, `.aselmdb`) find a row by its number; JSON is read whole. Units are
    those that the database's metadata state, or a row's own key-value pairs and data. Of SQLite
    every thread has a connection of its own.

    Args:
        path: the file.

    Raises:
        ValueError: the file is damaged, locked or of another kind, or a package that reads it is
            missing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        with _explained(path):
            database = self._database()
            self._stated = _of_metadata(dict(database.metadata or {}))
            self.ids = _ids(path, database)

    def __len__(self) -> int:
        return len(self.ids)

    def name(self, index: int) -> str:
        """Return how messages name a row."""
        return f"id={int(self.ids[index])}"

    def frame(self, index: int) -> Frame:
        """Return a row, with its key-value pairs and the numbers of its data.

        Raises:
            ValueError: the row is damaged.
        """
        name = self.name(index)
        try:
            row = self._database()._get_row(int(self.ids[index]))
            return _frame(row, name, self._stated)
        except Exception as error:  # a damaged row raises whatever its bytes lead to
            raise ValueError(
                f"{self.path}:{name}: cannot be read: {type(error).__name__}: {error}"
            ) from error

    def close(self) -> None:
        """Close the connections of all threads; what is read later opens new ones."""
        self._local = threading.local()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def __del__(self) -> None:
        self.close()

    def _database(self) -> Database:
        if not hasattr(self._local, "database"):
            if self.path.suffix.lower() == ".aselmdb":
                self._local.database = _lmdb_database(self.path)
            else:
                self._local.database = database = _sqlite_database(self.path)
                self._connections.append(database.connection)
        return self._local.database


def read_database(path: Path) -> Iterator[Frame]:
    """Yield the rows of an ASE database, with their key-value pairs and the numbers of their data.

    Raises:
        ValueError: the file is damaged or of another kind, or a package that reads it is missing.
    """
    if path.suffix.lower() in BY_INDEX:
        rows = DatabaseRows(path)
        try:
            yield from (rows.frame(index) for index in range(len(rows)))
        finally:
            rows.close()
        return
    with _explained(path):
        database: Database = ase.db.connect(path)
        with database:
            stated = _of_metadata(dict(database.metadata or {}))
            found = list(database.select())
    for row in found:
        name = f"id={row.id}"
        try:
            frame = _frame(row, name, stated)
        except Exception as error:  # a damaged row raises whatever its bytes lead to
            raise ValueError(
                f"{path}:{name}: cannot be read: {type(error).__name__}: {error}"
            ) from error
        yield frame


BY_INDEX = frozenset({".db", ".aselmdb"})
"""Suffixes of databases whose rows are found without reading the others."""


def _sqlite_database(path: Path) -> Database:
    _check_sqlite(path)
    database: Database = ase.db.connect(path)
    # One connection for all rows, which writes nothing; without it there would be one for each.
    # It is closed by whoever comes last, which may be another thread.
    database.connection = sqlite3.connect(_read_only(path), uri=True, check_same_thread=False)
    database.change_count = 0
    return database


_LMDB: WeakValueDictionary[Path, Database] = WeakValueDictionary()
_LMDB_LOCK = threading.Lock()


def _lmdb_database(path: Path) -> Database:
    """Return a database that all of the process share: LMDB opens a file only once in it."""
    with _LMDB_LOCK:
        database: Database = _LMDB.get(path.resolve())
        if database is None:
            _check_lmdb(path)
            # Its own lock file would lie beside the data, which may be where nobody may write.
            # Pages that come next in the file are of no use to random reads.
            options: dict[str, Any] = {"readonly": True, "use_lock_file": False, "readahead": False}
            database = ase.db.connect(path, **options)
            # A list of Python's integers, of as many as there are rows.
            database.ids = np.array(database.ids, np.int64)
            _LMDB[path.resolve()] = database
    return database


def _ids(path: Path, database: Database) -> Int64[np.ndarray, " rows"]:
    if path.suffix.lower() == ".aselmdb":
        return database.ids
    query = "SELECT id FROM systems ORDER BY id"
    return np.fromiter((row[0] for row in database.connection.execute(query)), np.int64)


def _frame(row: AtomsRow, name: str, stated: StatedUnits) -> Frame:
    atoms = row.toatoms()
    pairs, data = dict(row.key_value_pairs), dict(row.data)
    atoms.info.update(pairs)
    for key, value in data.items():
        number = _number(value)
        if number is not None:
            atoms.info[key] = number
    return Frame(atoms, name, stated | stated_in(data) | stated_in(pairs))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise what goes wrong with a database as one kind of error, which names it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path}: {path.suffix} databases are read with the module {error.name}, which is not "
            f"installed: pip install {_package(error.name)}"
        ) from error
    except Exception as error:  # sqlite3.DatabaseError, KeyError, … by backend and fault
        if "locked" in str(error).lower() or type(error).__name__ in ("LockError", "BadRslotError"):
            raise ValueError(
                f"{path}: is locked by another process that writes to it ({error}): wait until it "
                "has ended, or read a copy"
            ) from error
        raise ValueError(
            f"{path}: cannot be read as an ASE database: {type(error).__name__}: {error}: the file "
            "is damaged, cut off or of another kind"
        ) from error


def is_json_database(path: Path) -> bool:
    """Return whether a file is an ASE database as JSON: others are of other formats."""
    if inner_name(path).suffix.lower() != ".json":
        return False
    with open_text(path) as stream:
        return '"nextid"' in stream.read()


def _read(path: Path, config: LabelConfig) -> Iterator[Frame]:
    return read_database(path)


DATABASE = FileFormat(_read, frozenset({".db", ".aselmdb"}), is_json_database)


def _of_metadata(metadata: Mapping[str, object]) -> StatedUnits:
    """Return the units that metadata state, among them the third words of ASE's descriptions."""
    descriptions = metadata.get("key_descriptions")
    units = {}
    if isinstance(descriptions, Mapping):
        units = {
            key: words[2]
            for key, words in descriptions.items()
            if isinstance(words, list | tuple) and len(words) == 3 and isinstance(words[2], str)
        }
    return stated_in({"units": units}) | stated_in(metadata)


def _package(module: str | None) -> str:
    if module is not None and module.split(".")[0] in ("ase_db_backends", "lmdb"):
        return "ase-db-backends"
    return str(module)


def _check_sqlite(path: Path) -> None:
    """Raise ValueError if an SQLite file is not ASE's: connecting would write its tables there."""
    with closing(sqlite3.connect(_read_only(path), uri=True)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in connection.execute(query)]
    if "systems" not in tables:
        raise ValueError(f"not an ASE database; it has tables {tables}")


def _read_only(path: Path) -> str:
    return f"{path.resolve().as_uri()}?mode=ro"


def _check_lmdb(path: Path) -> None:
    """Raise ValueError if an LMDB file is shorter than it says: reading past its end would crash.

    Raises:
        ModuleNotFoundError: the module that reads it is not installed.
        OSError: ASE is writing to it in another process.
    """
    lmdb = import_module("lmdb")
    lock = path.with_name(f"{path.name}.lock")
    if lock.exists():
        raise OSError(
            f"{lock.name} is there: it is locked; if no process writes to it, delete that"
        )
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment:
        needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if path.stat().st_size < needed:
        raise ValueError(f"it has {path.stat().st_size} of {needed} bytes")


def _number(value: object) -> int | float | np.ndarray | None:
    """Return a number or an array of numbers, None for anything else."""
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes | Mapping):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        return None
    if array.dtype.kind not in "iuf":
        return None
    return value if isinstance(value, int | float) else array
