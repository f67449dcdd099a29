"""Files of other programs whose structures are found by index: ASE databases and HDF5."""

from pathlib import Path
from typing import Protocol

from tensornet_jax.data.formats.databases import DatabaseRows
from tensornet_jax.data.formats.frame import Frame
from tensornet_jax.data.formats.hdf5_rows import Hdf5Rows
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.sources.source import Source


class Rows(Protocol):
    """Frames of a file by index."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return how messages name a frame."""
        ...

    def frame(self, index: int) -> Frame:
        """Return a frame in the file's own names and units."""
        ...


class FileRows(Source):
    """The structures of a file that is read row by row.

    Args:
        path: the file.
        labels: names and units of the labels.

    Attributes:
        path: the file.

    Raises:
        ValueError: the file cannot be used.
    """

    def __init__(self, path: Path, labels: LabelConfig):
        self.path, self._labels = path, labels
        self._rows: Rows = ROWS[path.suffix.lower()](path, labels)
        if not len(self._rows):
            raise ValueError(f"{path}: the file holds no structures")

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[type["FileRows"], tuple[Path, LabelConfig]]:
        return FileRows, (self.path, self._labels)

    def read(self, index: int) -> LabelledStructure:
        """Read one structure."""
        frame = self._rows.frame(index)
        source = f"{self.path}:{frame.name}"
        return labelled_structure(frame.atoms, self._labels, source, frame.units, frame.remarks)

    def source(self, index: int) -> str:
        """Return file and frame of a structure."""
        return f"{self.path}:{self._rows.name(index)}"


def _database(path: Path, labels: LabelConfig) -> Rows:
    return DatabaseRows(path)


ROWS = {
    ".db": _database,
    ".aselmdb": _database,
    ".h5": Hdf5Rows,
    ".hdf5": Hdf5Rows,
    ".hdf": Hdf5Rows,
}
"""What opens files of each suffix."""
