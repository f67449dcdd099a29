"""The file formats of structures, in the order in which they are tried.

A new one is a module with a `FileFormat`, and its line in `FORMATS`. A program that uses the
package adds its own by `FORMATS["name"] = FileFormat(…)`: readers and commands then take its files.
"""

from collections.abc import Iterator
from pathlib import Path

from tensornet_jax.data.formats.array_files import HDF5, NPZ
from tensornet_jax.data.formats.compressed import inner_name, is_compressed
from tensornet_jax.data.formats.databases import DATABASE
from tensornet_jax.data.formats.frame import FileFormat, Frame
from tensornet_jax.data.formats.other_files import read_other
from tensornet_jax.data.formats.packed_files import PACKED
from tensornet_jax.data.formats.xyz_files import XYZ
from tensornet_jax.data.labels.config import LabelConfig

__all__ = ["FORMATS", "FileFormat", "Frame", "read_frames"]

FORMATS: dict[str, FileFormat] = {
    "xyz": XYZ,
    "npz": NPZ,
    "hdf5": HDF5,
    "database": DATABASE,
    "packed": PACKED,
}

# Formats that would run code from the file.
_REFUSED = {".pkl", ".pckl", ".pickle", ".joblib", ".pt", ".pth", ".lmdb"}


def read_frames(path: Path, config: LabelConfig) -> Iterator[Frame]:
    """Return the structures of a file as they stand there.

    The suffix says what the file is; where no format has it, how it begins; else ASE has to know.

    Args:
        path: the file, which is not empty.
        config: names and units of the labels.

    Raises:
        ValueError: reading the file could run code from it, it is compressed and its format is not
            read so, or whatever its reader finds wrong with it.
    """
    suffix = inner_name(path).suffix.lower()
    if suffix in _REFUSED:
        raise ValueError(f"{path}: {suffix} files can run code when read: convert to extended XYZ")
    found = _format_of(path, suffix)
    if found is None:
        return read_other(path)
    if is_compressed(path) and not found.compressed:
        raise ValueError(f"{path}: {suffix} files are read uncompressed only: decompress it first")
    return found.read(path, config)


def _format_of(path: Path, suffix: str) -> FileFormat | None:
    known = tuple(FORMATS.values())
    named = (each for each in known if suffix in each.suffixes)
    begun = (each for each in known if each.recognizes(path))
    return next(named, None) or next(begun, None)
