"""Read structures with labels from extended XYZ, ASE databases, npz and HDF5 files."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict

from tensornet_jax.data.array_files import read_hdf5, read_npz
from tensornet_jax.data.labels import (
    LabelConfig,
    available_labels,
    canonical_labels,
    check_configured,
)

_XYZ = {".xyz", ".extxyz"}
_DATABASE = {".db"}
_HDF5 = {".h5", ".hdf5", ".hdf"}
# Formats that would run code from the file.
_REFUSED = {".pkl", ".pckl", ".pickle", ".joblib", ".pt", ".pth"}
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\{[^}]*\}|\[[^\]]*\]|\'[^\']*\'')
_VOIGT_VALUE = re.compile(r'(?<!\S)(stress|virial)="([^"]*)"')


class Refusal(NamedTuple):
    """A structure that cannot be used.

    index: its place among all that were read.
    source: file and frame.
    reason: the error, whose text names the source.
    """

    index: int
    source: str
    reason: ValueError


def read_structures(
    path_or_paths: str | Path | Sequence[str | Path],
    labels: LabelConfig | None = None,
    *,
    require_configured: bool = True,
    required: LabelConfig | None = None,
    refused: list[Refusal] | None = None,
) -> list[Atoms]:
    """Read structures with labels in eV and Å under their canonical names (`data.labels`).

    Formats, by suffix: extended XYZ; ASE databases (.db; labels from results, key-value pairs and
    data); npz with MD17's names (z, R, E, F or nuclear_charges, coords, energies, forces); HDF5,
    flat or one group per molecule as in SPICE and ANI; anything else that `ase.io.read` reads.

    Args:
        path_or_paths: a file, a glob pattern, or several of them.
        labels: names and units of the labels; the usual names, eV and Å if None.
        require_configured: whether a key that `labels` names must be in at least one structure.
        required: the section whose keys must be, in place of `labels`.
        refused: gets those structures that cannot be used, which are then left out; if None the
            first of them is an error.

    Returns:
        One Atoms a frame, without calculator, constraints kept, `info["source"]` set to file and
        zero-based frame, e.g. `train.xyz:12`.

    Raises:
        FileNotFoundError: no such file; the message names the path.
        ValueError: a file is empty or unreadable, a structure is not finite, a configured key is
            absent from all structures.
    """
    config = labels or LabelConfig()
    structures, available = [], set()
    for path in _expand(path_or_paths):
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        count = 0
        for atoms, frame in _frames(path, config):
            available.update(available_labels(atoms))
            count += 1
            try:
                structures.append(canonical_labels(atoms, config, f"{path}:{frame}"))
            except ValueError as error:
                if refused is None:
                    raise
                refused.append(Refusal(len(structures) + len(refused), f"{path}:{frame}", error))
        if count == 0:
            raise ValueError(f"{path}: the file holds no structures")
    if require_configured:
        check_configured(required or config, available)
    return structures


def _expand(path_or_paths: str | Path | Sequence[str | Path]) -> list[Path]:
    patterns = [path_or_paths] if isinstance(path_or_paths, str | Path) else list(path_or_paths)
    if not patterns:
        raise ValueError("no data files given")
    paths: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        matches = [path] if path.exists() else sorted(_matches(path))
        if not matches:
            raise FileNotFoundError(f"{path}: no such file (current directory {Path.cwd()})")
        for match in matches:
            if not match.is_file():
                raise ValueError(f"{match}: is a directory: name its files, e.g. {match}/*.xyz")
        paths.extend(matches)
    repeated = {str(path) for path in paths if paths.count(path) > 1}
    if repeated:
        raise ValueError(f"data files named more than once: {', '.join(sorted(repeated))}")
    return paths


def _matches(pattern: Path) -> Iterator[Path]:
    # Path.glob takes relative patterns only.
    root = Path(pattern.anchor)
    return root.glob(str(pattern.relative_to(root)))


def _frames(path: Path, config: LabelConfig) -> Iterator[tuple[Atoms, str]]:
    suffix = path.suffix.lower()
    if suffix in _REFUSED:
        raise ValueError(f"{path}: {suffix} files can run code when read: convert to extended XYZ")
    if suffix == ".npz":
        return read_npz(path, config)
    if suffix in _HDF5:
        return read_hdf5(path, config)
    if suffix in _DATABASE:
        return _read_database(path)
    return _read_ase(path)


def _read_ase(path: Path) -> Iterator[tuple[Atoms, str]]:
    options: dict[str, Any] = {}
    if path.suffix.lower() in _XYZ:
        options = {"format": "extxyz", "properties_parser": _parse_comment}
    try:
        frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True, **options)
    except Exception as error:  # ASE's readers raise nearly every type there is
        raise ValueError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    if isinstance(frames, Atoms):
        frames = [frames]
    for index, atoms in enumerate(frames):
        yield atoms, str(index)


def _parse_comment(line: str) -> dict[str, Any]:
    """Parse an extended XYZ comment line where ASE would drop or refuse a label.

    ASE keeps the last of a repeated key, and fails on `stress` with six (Voigt) numbers.
    """
    names = re.findall(r"(?:^|\s)([^\s=]+)=", _QUOTED.sub("_", line))
    repeated = {name for name in names if names.count(name) > 1 and name != "_"}
    if repeated:
        raise ValueError(f"repeated keys {', '.join(sorted(repeated))} in {line.strip()[:120]!r}")

    def nine_numbers(match: re.Match[str]) -> str:
        numbers = match[2].replace(",", " ").split()
        if len(numbers) != 6:
            return match[0]
        xx, yy, zz, yz, xz, xy = numbers
        return f'{match[1]}="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'

    return key_val_str_to_dict(_VOIGT_VALUE.sub(nine_numbers, line))


def _read_database(path: Path) -> Iterator[tuple[Atoms, str]]:
    try:
        _check_database(path)
        database: Any = ase.db.connect(path)
        with database:  # closes the connection, which select() alone leaves open
            rows = list(database.select())
    except Exception as error:  # sqlite3.DatabaseError, KeyError, … by backend and fault
        raise ValueError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    for row in rows:
        atoms = row.toatoms()
        atoms.info.update(row.key_value_pairs)
        atoms.info.update({key: value for key, value in row.data.items() if _is_numeric(value)})
        yield atoms, f"id={row.id}"


def _check_database(path: Path) -> None:
    """Raise ValueError if an SQLite file is not ASE's: connecting would write its tables there."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in connection.execute(query)]
    if "systems" not in tables:
        raise ValueError(f"not an ASE database; it has tables {tables}")


def _is_numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iuf"
    return isinstance(value, int | float) and not isinstance(value, bool)
