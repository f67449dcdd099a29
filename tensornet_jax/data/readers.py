"""Read structures with labels from extended XYZ, ASE databases, npz, HDF5 and what ASE reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ase import Atoms

from tensornet_jax.data.formats.array_files import read_hdf5, read_npz
from tensornet_jax.data.formats.compressed import inner_name, is_compressed
from tensornet_jax.data.formats.databases import SUFFIXES as DATABASES
from tensornet_jax.data.formats.databases import is_database, read_database
from tensornet_jax.data.formats.frame import Frame
from tensornet_jax.data.formats.other_files import read_other
from tensornet_jax.data.formats.xyz_files import looks_like_xyz, read_xyz
from tensornet_jax.data.labels.canonical import available_labels, canonical_labels, check_configured
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.published.datasets import how_to_fetch

_XYZ = {".xyz", ".extxyz", ".exyz"}
_HDF5 = {".h5", ".hdf5", ".hdf"}
# Formats that would run code from the file.
_REFUSED = {".pkl", ".pckl", ".pickle", ".joblib", ".pt", ".pth", ".lmdb"}


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

    Formats, by suffix: extended and plain XYZ, compressed or not; ASE databases (.db, .json,
    .aselmdb; labels from results, key-value pairs and data); npz with MD17's names (z, R, E, F or
    nuclear_charges, coords, energies, forces); HDF5, flat or one group per molecule as in SPICE
    and ANI; anything else that `ase.io.read` reads. `docs/data.md` describes them.

    Args:
        path_or_paths: a file, a glob pattern, or several of them.
        labels: names and units of the labels; if None the usual names, and the units that the
            file states, else eV and Å.
        require_configured: whether a key that `labels` names must be in at least one structure.
        required: the section whose keys must be, in place of `labels`.
        refused: gets those structures that cannot be used, which are then left out; if None the
            first of them is an error.

    Returns:
        One Atoms a frame, without calculator, constraints kept, `info["source"]` set to file and
        zero-based frame, e.g. `train.xyz:12`, and `info["remarks"]` to what a person should know
        about how it was read, if there is anything.

    Raises:
        FileNotFoundError: no such file; the message names the path.
        ValueError: a file is empty or unreadable, states units that are not understood or
            contradict `labels`, a structure is not finite, a configured key is absent from all
            structures.
    """
    config = labels or LabelConfig()
    structures, available = [], set()
    for path in _expand(path_or_paths):
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        count = 0
        for frame in _frames(path, config):
            available.update(available_labels(frame.atoms))
            count += 1
            source = f"{path}:{frame.name}"
            try:
                atoms = canonical_labels(frame.atoms, config, source, frame.units)
            except ValueError as error:
                if refused is None:
                    raise
                refused.append(Refusal(len(structures) + len(refused), source, error))
                continue
            if frame.remarks:
                atoms.info["remarks"] = (*frame.remarks, *atoms.info.get("remarks", ()))
            structures.append(atoms)
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
            command = how_to_fetch(path)
            remedy = "" if command is None else f"; it can be fetched: {command}"
            raise FileNotFoundError(
                f"{path}: no such file (current directory {Path.cwd()}){remedy}"
            )
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


def _frames(path: Path, config: LabelConfig) -> Iterator[Frame]:
    suffix = inner_name(path).suffix.lower()
    if suffix in _REFUSED:
        raise ValueError(f"{path}: {suffix} files can run code when read: convert to extended XYZ")
    if is_compressed(path) and suffix in {".npz", ".npy", *_HDF5, *DATABASES}:
        raise ValueError(f"{path}: {suffix} files are read uncompressed only: decompress it first")
    if suffix in _XYZ or looks_like_xyz(path):
        return read_xyz(path, config.stress_order)
    if suffix == ".npz":
        return read_npz(path, config)
    if suffix in _HDF5:
        return read_hdf5(path, config)
    if is_database(path):
        return read_database(path)
    return read_other(path)
