"""The structures of a run: read from files, and divided into training and what is held out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.references import isolated_atom_indices
from tensornet_jax.data.splits import Split, make_split, traits_of
from tensornet_jax.runtime.whole_files import write_whole
from tensornet_jax.train.config.data import DataConfig, ReplayConfig
from tensornet_jax.train.config.sources import Sources, readings_of_files


class DataError(ValueError):
    """Data that cannot be trained on; the text says which structure or label, and the remedy."""


@dataclass(frozen=True)
class ReplayParts:
    """The structures of a replay set, as read.

    Attributes:
        train: structures to train on beside the new ones.
        validation: structures to validate on.
        isolated: isolated atoms among them.
    """

    train: list[LabelledStructure]
    validation: list[LabelledStructure]
    isolated: list[LabelledStructure]


@dataclass(frozen=True)
class Parts:
    """The structures of a run, read and divided, before reference energies are known.

    Attributes:
        pool: all that `data.train` names, without isolated atoms.
        groups: the same by what their labels are called, isolated atoms included.
        train: structures to train on.
        validation: structures to validate on; none if nothing is validated.
        tests: structures to test on, by name.
        isolated: isolated atoms in `data.train`; they are not trained on.
        replay: the replay set, where there is one.
    """

    pool: list[LabelledStructure]
    groups: list[tuple[LabelConfig, list[LabelledStructure]]]
    train: list[LabelledStructure]
    validation: list[LabelledStructure]
    tests: dict[str, list[LabelledStructure]]
    isolated: list[LabelledStructure]
    replay: ReplayParts | None = None

    def all(self) -> dict[str, list[LabelledStructure]]:
        """Return every set by name: train, validation, the tests, both parts of the replay set."""
        sets = {"train": self.train, "validation": self.validation, **self.tests}
        if self.replay is None:
            return sets
        return sets | {"replay train": self.replay.train, "replay": self.replay.validation}


def read_parts(
    config: DataConfig,
    seed: int,
    split_path: Path,
    *,
    reuse_split: bool,
    message: Callable[[str], None],
) -> Parts:
    """Read and divide the structures of a run.

    Args:
        config: the data section.
        seed: of the split.
        split_path: where the split is written, or read from; that of a replay set lies beside it.
        reuse_split: read and check the split of an earlier piece of the run, if it is there.
        message: takes sentences for the user.

    Raises:
        DataError: too few structures for what is held out.
        ValueError: files, labels or the split cannot be used.
    """
    groups = _read(config.train, config.labels)
    pool, isolated = _apart([each for _, group in groups for each in group])
    if isolated and isolated is not pool:
        message(
            f"{len(isolated)} isolated atoms among the training structures are left out of "
            "training: they only give reference energies, where reference_energies says so"
        )
    parts = _split(config.held_out(), pool, seed, split_path, reuse_split, "data", message)
    sets = {name: [pool[k] for k in indices] for name, indices in parts.items()}
    if isinstance(config.validation, tuple):
        sets["validation"] = _without_isolated(config.validation, config.labels)
    tests = {
        name: _without_isolated(source, config.labels) if isinstance(source, tuple) else sets[name]
        for name, source in config.test.items()
    }
    replay = None
    if config.replay is not None:
        path = split_path.with_name(f"{split_path.stem}_replay{split_path.suffix}")
        replay = read_replay(config.replay, seed, path, reuse_split, message)
    return Parts(pool, groups, sets["train"], sets["validation"], tests, isolated, replay)


def _apart(
    structures: list[LabelledStructure],
) -> tuple[list[LabelledStructure], list[LabelledStructure]]:
    """Return structures to train on, and isolated atoms: all are both if there is nothing else."""
    alone = set(isolated_atom_indices(structures))
    if len(alone) == len(structures):
        return structures, structures
    return (
        [each for k, each in enumerate(structures) if k not in alone],
        [each for k, each in enumerate(structures) if k in alone],
    )


def _read(
    sources: Sources, default: LabelConfig, *, required: bool = True
) -> list[tuple[LabelConfig, list[LabelledStructure]]]:
    """Return structures by what their labels are called.

    A key that a section of its own names must be found there; one of the `default` if `required`.
    """
    found = []
    for files, (labels, head, weight) in readings_of_files(sources, default):
        required_here = required or labels != default
        own = read_labelled(files, labels, require_configured=required_here)
        found.append((labels, [of_section(each, head, weight) for each in own]))
    return found


def of_section(structure: LabelledStructure, head: str | None, weight: float) -> LabelledStructure:
    """Return a structure with the head and the weight that the section of its file gives it.

    Raises:
        DataError: it says that it has another head.
    """
    if head is not None:
        if structure.head not in (None, head):
            raise DataError(
                f"{structure.source} says head={structure.head}, and its section of the data "
                f"head: {head}: correct one, or divide the file"
            )
        structure = structure.with_head(head)
    if weight == 1.0:
        return structure
    return replace(structure, weights=structure.weights.times(weight))


def _without_isolated(sources: Sources, labels: LabelConfig) -> list[LabelledStructure]:
    # A test set may lack a label that the training set is known to have, forces for instance.
    groups = _read(sources, labels, required=False)
    return _apart([each for _, group in groups for each in group])[0]


def read_replay(
    config: ReplayConfig, seed: int, path: Path, reuse: bool, message: Callable[[str], None]
) -> ReplayParts:
    """Read and divide a replay set.

    Args:
        config: its section.
        seed: of the split.
        path: where the split is written, or read from.
        reuse: read and check the split of an earlier piece of the run, if it is there.
        message: takes sentences for the user.
    """
    groups = _read(config.train, config.labels, required=config.targets == "labels")
    pool, isolated = _apart([each for _, group in groups for each in group])
    held_out = {} if isinstance(config.validation, tuple) else {"validation": config.validation}
    parts = _split(held_out, pool, seed, path, reuse, "data.replay", message)
    if isinstance(config.validation, tuple):
        validation = _without_isolated(config.validation, config.labels)
    else:
        validation = [pool[k] for k in parts["validation"]]
    return ReplayParts([pool[k] for k in parts["train"]], validation, isolated)


def _split(
    held_out: dict[str, int | float],
    pool: Sequence[LabelledStructure],
    seed: int,
    path: Path,
    reuse: bool,
    section: str,
    message: Callable[[str], None],
) -> dict[str, tuple[int, ...]]:
    """Return the indices of each part; those of random tests lie beside the split's own."""
    if reuse and path.exists():
        split = Split.load(path, pool)
        tests = json.loads(path.read_text(encoding="utf-8")).get("test", {})
        return {"train": split.train, "validation": split.validation} | {
            name: tuple(indices) for name, indices in tests.items()
        }
    rest, parts = np.arange(len(pool)), {}
    traits = [traits_of(each) for each in pool] if held_out else []
    for name, size in held_out.items():
        place = f"{section}.{name if name == 'validation' else 'test.' + name}"
        count = size if isinstance(size, int) else max(1, round(size * len(pool)))
        if count >= len(rest):
            raise DataError(
                f"{place} wants {count} of "
                f"{len(rest)} structures that are left, and training needs some: ask for fewer"
            )
        own = [traits[int(k)] for k in rest]
        try:
            drawn = make_split(len(rest), None, count, seed, own)
        except ValueError as error:
            raise DataError(f"{place}: {error}") from error
        at_random = make_split(len(rest), None, count, seed)
        for text in _kept(at_random, drawn, own, [pool[int(k)] for k in rest]):
            message(f"{place}: {text}")
        parts[name] = tuple(int(k) for k in rest[list(drawn.validation)])
        rest = rest[list(drawn.train)]
    validation = parts.pop("validation", ())
    split = Split(len(pool), tuple(int(k) for k in rest), validation, seed)
    split.save(path, pool)
    if parts:
        content = json.loads(path.read_text(encoding="utf-8")) | {"test": parts}
        write_whole(path, json.dumps(content) + "\n")
    return {"train": split.train, "validation": split.validation, **parts}


def _kept(
    at_random: Split,
    drawn: Split,
    traits: Sequence[frozenset[str]],
    structures: Sequence[LabelledStructure],
) -> list[str]:
    """Return a sentence on what stays in training although chance alone would hold it out."""
    kept = sorted(set(at_random.validation) - set(drawn.validation))
    if not kept:
        return []
    elsewhere = frozenset().union(*(traits[k] for k in at_random.train))
    only = sorted(frozenset().union(*(traits[k] for k in kept)) - elsewhere)
    if not only:
        return []
    return [
        f"{len(kept)} of the structures drawn stay in training, e.g. "
        f"{structures[kept[0]].source}, and others are held out for them: no other "
        f"training structure would have {', '.join(only)}"
    ]
