"""The sets of a run whose structures are not held in memory: their files, and who is held out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import data_files
from tensornet_jax.data.sources.opening import Message, Opened, Progress, open_files
from tensornet_jax.data.sources.source import Joined, Source
from tensornet_jax.runtime.whole_files import write_whole
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.config.sources import Reading, Sources, files_of, readings_of_files
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.sections import Section

LARGE = 256_000_000
"""Bytes of files above which structures are not held in memory, unless the configuration says."""


def is_streamed(config: DataConfig) -> bool:
    """Return whether the structures of a run are read when they are needed.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a pattern names a folder, or a file twice.
    """
    if config.stream is not None:
        return config.stream
    parts = (config.train, config.validation, *config.test.values())
    paths = {path for part in parts if files_of(part) for path in data_files(files_of(part))}
    return sum(path.stat().st_size for path in paths) > LARGE


@dataclass(frozen=True)
class StreamedSets:
    """Files of a run, opened.

    Attributes:
        train: all that `data.train` names.
        validation: files to validate on; None where structures of `train` are held out, or none.
        tests: files to test on, by name.
        readings: how the files of `data.train` are read.
    """

    train: Opened
    validation: Opened | None
    tests: Mapping[str, Opened]
    readings: tuple[Reading, ...]

    @classmethod
    def open(
        cls, config: DataConfig, cache: Path, message: Message, progress: Progress
    ) -> "StreamedSets":
        """Open the files of a configuration.

        Args:
            config: the data section.
            cache: folder for packed copies.
            message: takes sentences for the user.
            progress: shows how far packing has come.
        """

        def opened(sources: Sources, *, required: bool = False) -> Opened:
            found = []
            for files, reading in readings_of_files(sources, config.labels):
                # A test set may lack a label that the training set is known to have.
                here = required or reading.labels != config.labels
                own = open_files(
                    files, reading.labels, cache, message, progress, require_configured=here
                )
                found.append(_as_section(own, reading))
            checksum = _checksum([each.checksum for each in found])
            return Opened(Joined([each.source for each in found]), checksum)

        validation, test = config.validation, config.test
        return cls(
            opened(config.train, required=True),
            opened(validation) if isinstance(validation, tuple) else None,
            {name: opened(part) for name, part in test.items() if isinstance(part, tuple)},
            tuple(reading for _, reading in readings_of_files(config.train, config.labels)),
        )

    def labels_of(self, head: str) -> LabelConfig | None:
        """Return what labels of a head are called, if that is the same in all of its files.

        Args:
            head: as in `data.train`; "" stands for all that is there.
        """
        each = [own.labels for own in self.readings if head in ("", own.head)]
        return each[0] if all(labels == each[0] for labels in each) else None

    def files(self) -> dict[str, Source]:
        """Return the sets that have files of their own, by name: validation first, then tests."""
        own = {} if self.validation is None else {"validation": self.validation.source}
        return own | {name: opened.source for name, opened in self.tests.items()}

    @property
    def checksum(self) -> str:
        """Of the content of all files."""
        validation = "" if self.validation is None else self.validation.checksum
        tests = [[name, each.checksum] for name, each in sorted(self.tests.items())]
        return _checksum([self.train.checksum, validation, tests])


def draw(
    num: int, held_out: Mapping[str, int | float], seed: int
) -> dict[str, Int64[np.ndarray, " held"]]:
    """Draw disjoint parts at random, in memory of their own size.

    Args:
        num: structures to draw from.
        held_out: count or fraction of each part, by name.
        seed: same seed, same parts.

    Returns:
        ascending indices, by name.

    Raises:
        DataError: nothing would be left.
    """
    sizes = {
        name: size if isinstance(size, int) else max(1, round(size * num))
        for name, size in held_out.items()
    }
    total = sum(sizes.values())
    if total >= num:
        raise DataError(
            f"data: {total} of {num} structures are to be held out, and training needs some: ask "
            "for fewer"
        )
    drawn = np.random.default_rng(seed).choice(num, total, replace=False)
    ends = np.cumsum([0, *sizes.values()])
    return {
        name: np.sort(drawn[start:end]).astype(np.int64)
        for name, start, end in zip(sizes, ends[:-1], ends[1:], strict=True)
    }


def save_split(
    path: Path, num: int, seed: int, checksum: str, held_out: Mapping[str, np.ndarray]
) -> None:
    """Write which structures are not trained on, and which content they are of."""
    parts = {name: indices.tolist() for name, indices in held_out.items()}
    content = {"num": num, "seed": seed, "content": checksum, "train": "the others", **parts}
    write_whole(path, json.dumps(content) + "\n")


def check_split(path: Path, checksum: str) -> None:
    """Raise DataError where a run began with data of another content."""
    try:
        saved = json.loads(path.read_text("utf-8"))["content"]
    except FileNotFoundError:
        return
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: the run began with all structures in memory, or this is no saved split: "
            "resume with data.stream: false, or start a new run directory"
        ) from error
    if saved != checksum:
        raise DataError(
            f"{path}: the data have changed since this run began: restore them, or start a new run "
            "directory"
        )


def _as_section(opened: Opened, reading: Reading) -> Opened:
    _, head, weight = reading
    if head is None and weight == 1.0:
        return opened
    checksum = _checksum([opened.checksum, head, weight])
    return Opened(Section(opened.source, head, weight), checksum)


def _checksum(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
