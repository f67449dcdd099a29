"""Open files as sources: by index where their format can, else from a packed copy."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import check_configured
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import data_files, labelled_frames
from tensornet_jax.data.sources.content import Checksums
from tensornet_jax.data.sources.packed_file import SUFFIX, PackedFile
from tensornet_jax.data.sources.packing import packing
from tensornet_jax.data.sources.rows import ROWS, FileRows
from tensornet_jax.data.sources.source import Joined, Source

Message = Callable[[str], None]
Progress = Callable[[Iterator[LabelledStructure], str], Iterator[LabelledStructure]]
"""Passes structures on and shows how many there were, under a name for the work."""


@dataclass(frozen=True)
class Opened:
    """Files as one source.

    Attributes:
        source: their structures, one file after the other.
        checksum: of the content of all files and of how their labels are read.
    """

    source: Source
    checksum: str


def open_files(
    paths: Sequence[str | Path],
    labels: LabelConfig,
    cache: Path,
    message: Message,
    progress: Progress,
    *,
    require_configured: bool = True,
) -> Opened:
    """Open files whose structures are not to be held in memory.

    What can be read by index is: packed files, ASE databases (`.aselmdb`, `.db`) and HDF5. Others
    are packed first, once, into the cache.

    Args:
        paths: files and patterns.
        labels: names and units of their labels.
        cache: folder for packed copies and checksums; made when needed.
        message: takes sentences for the user.
        progress: shows how far packing has come.
        require_configured: whether keys that `labels` names have to be in some file, where all of
            them are packed first; what is read by index shows only then which keys it has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is damaged, locked, empty, or its labels cannot be used.
    """
    checksums = Checksums(cache)
    sources: list[Source] = []
    digest = hashlib.sha256(labels.model_dump_json().encode())
    for path in data_files(paths):
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        suffix = path.suffix.lower()
        if suffix == SUFFIX:
            packed = PackedFile(path)
            check_packed_labels(packed, labels)
            own = packed.checksum
            sources.append(packed)
        else:
            own = checksums.of(path, message)
            direct = suffix in ROWS
            sources.append(
                FileRows(path, labels)
                if direct
                else _packed_copy(path, own, labels, cache, message, progress)
            )
        digest.update(own.encode())
    if require_configured:
        _check_configured(sources, labels)
    return Opened(sources[0] if len(sources) == 1 else Joined(sources), digest.hexdigest())


def check_packed_labels(packed: PackedFile, labels: LabelConfig) -> None:
    """Raise ValueError where a configuration asks for what packing has settled."""
    settled = LabelConfig(tensors=labels.tensors)
    if labels != settled:
        changed = (k for k in LabelConfig.model_fields if getattr(labels, k) != getattr(settled, k))
        asked = ", ".join(f"labels.{key}" for key in changed)
        raise ValueError(
            f"{packed.path}: {asked} cannot apply to a packed file, whose labels are in eV and Å "
            "already: leave it out for this file, or pack the data again with it"
        )


def _check_configured(sources: Sequence[Source], labels: LabelConfig) -> None:
    present: set[str] = set()
    for source in sources:
        if not isinstance(source, PackedFile) or source.present is None:
            return
        present |= {*source.present}
    check_configured(labels, present)


def _packed_copy(
    path: Path,
    checksum: str,
    labels: LabelConfig,
    cache: Path,
    message: Message,
    progress: Progress,
) -> PackedFile:
    """Return a packed copy of a file, which is made if the cache has none of this content."""
    settings = json.dumps([checksum, labels.model_dump(mode="json")], sort_keys=True)
    key = hashlib.sha256(settings.encode()).hexdigest()[:16]
    copy = cache / f"{path.name.split('.')[0]}-{key}{SUFFIX}"
    if copy.exists():
        return PackedFile(copy)
    cache.mkdir(parents=True, exist_ok=True)
    message(
        f"{path} is packed into {copy}, once, so that it need not be held in memory "
        f"(tensornet-jax data pack {path} FILE{SUFFIX} does the same for several runs)"
    )
    available: set[str] = set()
    with packing(copy) as packer:
        for structure in progress(labelled_frames([path], labels, available), "packing"):
            packer.add(structure)
        packer.present = available
    return PackedFile(copy)
