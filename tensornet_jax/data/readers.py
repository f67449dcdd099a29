"""Read structures with labels from extended XYZ, ASE databases, npz, HDF5 and what ASE reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from tensornet_jax.data.formats.registry import read_frames
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import (
    available_labels,
    check_configured,
    labelled_structure,
)
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.published.datasets import how_to_fetch


@dataclass(frozen=True)
class Refusal:
    """A structure that cannot be used.

    index: its place among all that were read.
    source: file and frame.
    reason: the error, whose text names the source.
    """

    index: int
    source: str
    reason: ValueError


def read_labelled(
    path_or_paths: str | Path | Sequence[str | Path],
    labels: LabelConfig | None = None,
    *,
    require_configured: bool = True,
    required: LabelConfig | None = None,
    refused: list[Refusal] | None = None,
) -> list[LabelledStructure]:
    """Read structures with labels in eV and Å.

    Formats, by suffix: extended and plain XYZ, compressed or not; ASE databases (.db, .json,
    .aselmdb; labels from results, key-value pairs and data); npz with MD17's names (z, R, E, F or
    nuclear_charges, coords, energies, forces); HDF5, flat or one group per molecule as in SPICE
    and ANI; what is added to `data.formats.registry.FORMATS`; anything else that `ase.io.read`
    reads. `docs/data.md` describes them.

    Args:
        path_or_paths: a file, a glob pattern, or several of them.
        labels: names and units of the labels; if None the usual names, and the units that the
            file states, else eV and Å.
        require_configured: whether a key that `labels` names must be in at least one structure.
        required: the section whose keys must be, in place of `labels`.
        refused: gets those structures that cannot be used, which are then left out; if None the
            first of them is an error.

    Raises:
        FileNotFoundError: no such file; the message names the path.
        ValueError: a file is empty or unreadable, states units that are not understood or
            contradict `labels`, a structure is not finite, a configured key is absent from all
            structures.
    """
    config = labels or LabelConfig()
    available: set[str] = set()
    structures = list(labelled_frames(data_files(path_or_paths), config, available, refused))
    if require_configured:
        check_configured(required or config, available)
    return structures


def labelled_frames(
    paths: Iterable[Path],
    config: LabelConfig,
    available: set[str],
    refused: list[Refusal] | None = None,
) -> Iterator[LabelledStructure]:
    """Yield the structures of files one after the other, as `read_labelled` returns them.

    Args:
        paths: the files.
        config: names and units of the labels.
        available: gets the keys of every structure.
        refused: as in `read_labelled`.

    Raises:
        ValueError: as `read_labelled`, but for keys that no structure has.
    """
    index = 0
    for path in paths:
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        first = index
        for index, frame in enumerate(read_frames(path, config), start=first + 1):
            atoms, name, units, remarks = frame
            available.update(available_labels(atoms))
            source = f"{path}:{name}"
            try:
                yield labelled_structure(atoms, config, source, units, remarks)
            except ValueError as error:
                if refused is None:
                    raise
                refused.append(Refusal(index - 1, source, error))
        if index == first:
            raise ValueError(f"{path}: the file holds no structures")


def read_structures(
    path_or_paths: str | Path | Sequence[str | Path],
    labels: LabelConfig | None = None,
    *,
    require_configured: bool = True,
    required: LabelConfig | None = None,
    refused: list[Refusal] | None = None,
) -> list[Atoms]:
    """Read structures as `read_labelled` does, as Atoms that carry their labels.

    `LabelledStructure.to_atoms` says where they stand, e.g. `info["REF_energy"]` in eV, and what is
    noted of each structure, e.g. `info["source"]`, its file and zero-based frame.
    """
    found = read_labelled(
        path_or_paths,
        labels,
        require_configured=require_configured,
        required=required,
        refused=refused,
    )
    return [structure.to_atoms() for structure in found]


def data_files(path_or_paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files that paths and patterns name, in their order; patterns are sorted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: none is named, one is named twice, or one is a folder.
    """
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
