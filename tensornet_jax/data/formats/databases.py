"""Read ASE databases: SQLite (.db), JSON (.json) and LMDB (.aselmdb)."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import ase.db
import numpy as np

from tensornet_jax.data.formats.compressed import inner_name, open_text
from tensornet_jax.data.formats.frame import FileFormat, Frame
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.stated_units import StatedUnits, stated_in


def read_database(path: Path) -> Iterator[Frame]:
    """Yield the rows of an ASE database, with their key-value pairs and the numbers of their data.

    Units are those that the database's metadata state, or a row's own key-value pairs and data.

    Raises:
        ValueError: the file is damaged or of another kind, or a package that reads it is missing.
    """
    try:
        if path.suffix.lower() == ".db":
            _check_sqlite(path)
        elif path.suffix.lower() == ".aselmdb":
            _check_lmdb(path)
        database: Any = ase.db.connect(path, **_options(path))
        with database:  # closes the connection, which select() alone leaves open
            metadata = dict(database.metadata or {})
            rows = list(database.select())
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path}: {path.suffix} databases are read with the module {error.name}, which is not "
            f"installed: pip install {_package(error.name)}"
        ) from error
    except Exception as error:  # sqlite3.DatabaseError, KeyError, … by backend and fault
        raise ValueError(
            f"{path}: cannot be read as an ASE database: {type(error).__name__}: {error}: the file "
            "is damaged, cut off or of another kind"
        ) from error
    stated = _of_metadata(metadata)
    for row in rows:
        name = f"id={row.id}"
        try:
            atoms = row.toatoms()
            pairs, data = dict(row.key_value_pairs), dict(row.data)
        except Exception as error:  # a damaged row raises whatever its bytes lead to
            raise ValueError(
                f"{path}:{name}: cannot be read: {type(error).__name__}: {error}"
            ) from error
        atoms.info.update(pairs)
        for key, value in data.items():
            number = _number(value)
            if number is not None:
                atoms.info[key] = number
        yield Frame(atoms, name, stated | stated_in(data) | stated_in(pairs))


def is_json_database(path: Path) -> bool:
    """Return whether a file is an ASE database as JSON: others are of other formats."""
    if inner_name(path).suffix.lower() != ".json":
        return False
    with open_text(path) as stream:
        return '"nextid"' in stream.read()


def _read(path: Path, config: LabelConfig) -> Iterator[Frame]:
    return read_database(path)


DATABASE = FileFormat(_read, frozenset({".db", ".aselmdb"}), is_json_database)


def _of_metadata(metadata: Mapping[str, Any]) -> StatedUnits:
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


def _options(path: Path) -> dict[str, Any]:
    # LMDB would make a lock file beside the data, which may lie where nobody may write.
    return {"readonly": True, "use_lock_file": False} if path.suffix.lower() == ".aselmdb" else {}


def _package(module: str | None) -> str:
    if module is not None and module.split(".")[0] in ("ase_db_backends", "lmdb"):
        return "ase-db-backends"
    return str(module)


def _check_sqlite(path: Path) -> None:
    """Raise ValueError if an SQLite file is not ASE's: connecting would write its tables there."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in connection.execute(query)]
    if "systems" not in tables:
        raise ValueError(f"not an ASE database; it has tables {tables}")


def _check_lmdb(path: Path) -> None:
    """Raise ValueError if an LMDB file is shorter than it says: reading past its end would crash.

    Raises:
        ModuleNotFoundError: the module that reads it is not installed.
    """
    lmdb = import_module("lmdb")
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment:
        needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if path.stat().st_size < needed:
        raise ValueError(f"it has {path.stat().st_size} of {needed} bytes")


def _number(value: Any) -> Any:
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
