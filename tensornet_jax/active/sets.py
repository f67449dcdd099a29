"""The sets of labelled structures that grow from round to round."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.layout import LoopDirectory, Stage
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.uncertainty.estimate import FEWEST_TO_CALIBRATE
from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.train.config.sources import Sources, readings_of_files

TRAIN, VALIDATION = "train.xyz", "validation.xyz"


def first_sets(config: ActiveConfig, stage: Stage) -> None:
    """Write the first structures as two files in canonical form.

    What is held out is drawn once: validated on by one round and trained on by the next, it would
    say nothing.

    Args:
        config: names files and labels.
        stage: where they are written.

    Raises:
        ValueError: too few structures, or files that cannot be read.
        FileNotFoundError: there is no such file.
    """
    data = config.train.data
    train = _read(data.train, data.labels)
    if isinstance(data.validation, tuple):
        validation = _read(data.validation, data.labels)
    else:
        size = data.validation
        assert not isinstance(size, str)
        count = size if isinstance(size, int) else max(1, round(size * len(train)))
        if count >= len(train):
            raise ValueError(
                f"train.data.validation: {count} structures cannot be held out of {len(train)}"
            )
        train, validation = parted(train, count, config.seed)
    known = sum(np.isfinite(each.energy) for each in validation)
    if known < FEWEST_TO_CALIBRATE:
        raise ValueError(
            f"train.data.validation: {known} of {len(validation)} structures have an energy, which "
            "is too few to calibrate deviations on: hold out more, or name the labels' key"
        )
    stage.begin()
    stage.finish(written(stage, train, validation))


def written(
    stage: Stage, train: Sequence[LabelledStructure], validation: Sequence[LabelledStructure]
) -> Json:
    """Write the two files of a stage, and return how many structures each has."""
    for name, structures in ((TRAIN, train), (VALIDATION, validation)):
        write_canonical(stage.path / name, structures)
    return {"train": len(train), "validation": len(validation)}


def parted(
    structures: Sequence[LabelledStructure], count: int, seed: int
) -> tuple[list[LabelledStructure], list[LabelledStructure]]:
    """Return structures without some that are drawn at random, and these; both in order."""
    drawn = set(np.random.default_rng(seed).permutation(len(structures))[:count].tolist())
    rest = [each for k, each in enumerate(structures) if k not in drawn]
    return rest, [structures[k] for k in sorted(drawn)]


def files_before(directory: LoopDirectory, number: int, name: str) -> list[Path]:
    """Return the files of structures that were labelled before a round.

    Args:
        directory: of the loop.
        number: of the round.
        name: TRAIN or VALIDATION.
    """
    key = Path(name).stem
    return [stage.path / name for stage in _stages(directory, number) if stage.facts()[key]]


def labelled_before(directory: LoopDirectory, number: int, name: str) -> list[LabelledStructure]:
    """Return the structures themselves."""
    return read_labelled(files_before(directory, number, name), LabelConfig())


def _stages(directory: LoopDirectory, number: int) -> Iterator[Stage]:
    yield directory.first
    for k in range(number):
        yield directory.round(k).labelled


def _read(sources: Sources, labels: LabelConfig) -> list[LabelledStructure]:
    found = []
    for files, reading in readings_of_files(sources, labels):
        found += read_labelled(files, reading.labels)
    return found
