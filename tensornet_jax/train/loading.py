"""The structures of a run, and what follows from them: held in memory, or read when needed."""

import dataclasses
from dataclasses import dataclass

from tensornet_jax.data.references_by_head import References
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.trained_on import TrainedOn
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.data.datasets import (
    DataSets,
    ExampleMaker,
    make_data_sets,
    read_data_sets,
)
from tensornet_jax.train.data.examples import Examples, HeldExamples
from tensornet_jax.train.data.facts import Facts
from tensornet_jax.train.data.parts import ReplayParts, read_parts, read_replay
from tensornet_jax.train.data.replay import counted_from, labelled_by
from tensornet_jax.train.data.streamed_examples import StreamedExamples
from tensornet_jax.train.data.streamed_sets import check_split, is_streamed
from tensornet_jax.train.data.surveyed import Surveyor
from tensornet_jax.train.finetune.start import Start, load_start, make_start, save_start
from tensornet_jax.train.reporting.reporter import Reporter
from tensornet_jax.train.run_directory import RunDirectory


@dataclass(frozen=True)
class Loaded:
    """The data of a run.

    Attributes:
        data: the structures as they were read.
        facts: what they say.
        make: from a structure to an example.
        train: examples to train on.
        validation: examples to validate on; there may be none.
        finetuned: the potential before the first step, if that is a trained model.
    """

    data: DataSets
    facts: Facts
    make: ExampleMaker
    train: Examples
    validation: Examples
    finetuned: Potential | None


def load(config: ResolvedRun, directory: RunDirectory, begun: bool, reporter: Reporter) -> Loaded:
    """Read the data of a run, or open the files from which they will be read.

    Args:
        config: the resolved configuration.
        directory: the run directory, which exists.
        begun: whether it holds a run that is to go on.
        reporter: is told what follows from the data.

    Raises:
        DataError: the data cannot be trained on.
    """
    if is_streamed(config.data):
        return _streamed(config, directory, begun, reporter)
    data, start = _held(config, directory, begun, reporter)
    make = _maker(config, data.references, start)
    train, validation = (
        HeldExamples([make(each) for each in own]) for own in (data.train, data.validation)
    )
    finetuned = None if start is None else start.potential
    return Loaded(data, Facts.of(data), make, train, validation, finetuned)


def _maker(config: ResolvedRun, references: References, start: Start | None) -> ExampleMaker:
    offset = 0.0 if start is None else start.potential.energy_offset
    return ExampleMaker(references, config.model, offset)


def _held(
    config: ResolvedRun, directory: RunDirectory, begun: bool, reporter: Reporter
) -> tuple[DataSets, Start | None]:
    split, message = directory.split, reporter.message
    if config.start is None:
        data = read_data_sets(
            config.data, config.seed, split_path=split, reuse_split=begun, message=message
        )
        return data, None
    parts = read_parts(
        config.data, config.seed, split_path=split, reuse_split=begun, message=message
    )
    if begun:
        start = load_start(config, directory.path)
    else:
        start = make_start(config, parts, message)
        save_start(start, directory.path)
    parts = dataclasses.replace(parts, replay=_replay(config, parts.replay, start))
    return make_data_sets(parts, config.data, start.references, message), start


def _replay(
    config: ResolvedRun, replay: ReplayParts | None, start: Start | None
) -> ReplayParts | None:
    """Return a replay set whose energies are counted as those of the others are."""
    section = config.data.replay
    if replay is None or start is None or section is None:
        return None
    if section.targets == "model":
        return labelled_by(replay, start.potential, config.training.validation_batch_size)
    if start.replay_references is not None:
        return counted_from(replay, start.replay_references, start.of_one_head())
    # Each head has the energies of its own data.
    return replay


def _streamed(
    config: ResolvedRun, directory: RunDirectory, begun: bool, reporter: Reporter
) -> Loaded:
    message, section = reporter.message, config.data
    surveyor = Surveyor(config, directory.data_cache, message, reporter.progress)
    if begun:
        check_split(directory.split, surveyor.sets.checksum)
    replay = None
    if section.replay is not None:
        path = directory.split.with_name(f"{directory.split.stem}_replay{directory.split.suffix}")
        replay = read_replay(section.replay, config.seed, path, begun, message)
    start = load_start(config, directory.path) if begun and config.start is not None else None
    found = None if config.start is not None and not begun else surveyor.remembered()
    if found is None:
        survey = surveyor.look()
        if config.start is not None and start is None:
            start = make_start(config, surveyor.parts(survey, replay), message)
            save_start(start, directory.path)
        found = surveyor.conclude(survey, None if start is None else start.references)
    surveyor.save_split(directory.split, found)
    data = surveyor.data_sets(found, _replay(config, replay, start))
    make = _maker(config, data.references, start)
    train = StreamedExamples(data.train, make, surveyor.sizes("train"), section.workers)
    validation = StreamedExamples(data.validation, make, surveyor.sizes("validation"))
    facts = found.facts
    if data.replay is not None:
        seen = TrainedOn.of(structure.atoms for structure in data.replay.train)
        facts = dataclasses.replace(facts, trained_on=facts.trained_on.merged(seen))
    finetuned = None if start is None else start.potential
    return Loaded(data, facts, make, train, validation, finetuned)
