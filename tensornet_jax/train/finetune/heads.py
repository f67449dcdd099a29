"""Heads of a run that starts from a trained model: one of its own, or new ones beside them."""

from collections.abc import Callable, Sequence

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.config import ConfigError
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.references import ReferenceEnergies, elements_of
from tensornet_jax.data.references_by_head import HeadReferences
from tensornet_jax.potential.heads import UNNAMED, with_head, with_more_heads
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.config.start import StartConfig
from tensornet_jax.train.data.parts import DataError, Parts
from tensornet_jax.train.finetune.energies import Set, kept_references, refitted_references


def with_heads_of_run(potential: Potential, start: StartConfig, data: DataConfig) -> Potential:
    """Return a starting model with the heads of a run.

    Args:
        potential: as its file has it.
        start: how the run starts.
        data: names heads. None of them: the run has one head of the model.

    Raises:
        ConfigError: it is not said which head is meant, or there is no such head.
    """
    old, heads = potential.config.levels or (UNNAMED,), data.heads()
    for head in data.replay.heads() if data.replay else ():
        if head not in old:
            raise ConfigError(
                f"data.replay: the starting model has no head {head} to remember, only "
                f"{', '.join(old)}: correct it"
            )
    new = [head for head in heads if head not in old]
    try:
        if not heads:
            return with_head(potential, start.head)
        if new and start.head is None and len(old) > 1:
            raise ValueError(
                f"new heads ({', '.join(new)}) begin as one that the model has: name it, one of "
                f"{', '.join(old)}"
            )
        if not new and start.head is not None:
            raise ValueError("data.train names heads that the model has: leave start.head out")
        return with_more_heads(potential, dict.fromkeys(new, start.head))
    except ValueError as error:
        raise ConfigError(f"start.head: {error}") from None


def references_of_heads(
    potential: Potential,
    config: RunConfig,
    parts: Parts,
    old: Sequence[str],
    message: Callable[[str], None],
) -> HeadReferences:
    """Return reference energies of all heads of a run.

    Old heads keep theirs, with those of new elements that their data have, replayed ones included;
    new ones get those of their data as `start.reference_energies` says.

    Args:
        potential: the starting model, with all heads and elements of the run; NaN stands for
            energies that a head does not know.
        config: of the run, with a start.
        parts: the structures of the run.
        old: heads that the file has.
        message: takes sentences for the user.

    Raises:
        DataError: energies do not belong to the model.
        ValueError: reference energies cannot be found.
    """
    tables = []
    keep = config.start is not None and config.start.reference_energies == "keep"
    numbers = np.array(potential.elements.numbers)
    train_and_replay, all_isolated = _with_labels_to_learn(config, parts)
    for place, head in enumerate(potential.config.levels):
        train, isolated = (
            [each for each in some if each.head == head]
            for some in (train_and_replay, all_isolated)
        )
        energies = potential.elements.reference_energies[place]
        known = ~np.isnan(energies)
        if not train:
            own = tuple(numbers[known].tolist())
            tables.append(ReferenceEnergies(own, energies[known], _OWN, len(own)))
            continue
        lacking = [z for z in elements_of(train) if z in numbers[~known]]
        named = head in config.data.heads()
        spec, labels = config.data.references_of(head) if named else ("least_squares", _ANY)
        remedy = "start.reference_energies: refit"
        if head in old:
            remedy = "give them a head of their own"
        name = f"training set of head {head}" if named else f"replay set of head {head}"
        data = Set(name, remedy, train, isolated, labels)
        find = kept_references if keep or head in old else refitted_references
        alone = _alone(potential, place, lacking)
        tables.append(find(alone, lacking, spec, data, message))
    found = HeadReferences(potential.config.levels, tuple(tables))
    if unknown := [chemical_symbols[z] for z in numbers.tolist() if z not in found.numbers]:
        raise DataError(
            f"no head has a reference energy of {', '.join(unknown)}: what a model predicts of an "
            "element that it does not know cannot be remembered: leave such structures out of "
            "data.replay, or set its targets to labels"
        )
    return found


_OWN = "the starting model's"
# No file of isolated atoms is read with them.
_ANY = LabelConfig()


def _with_labels_to_learn(
    config: RunConfig, parts: Parts
) -> tuple[list[LabelledStructure], list[LabelledStructure]]:
    """Return training structures and isolated atoms whose energies the heads are to have."""
    replay, section = parts.replay, config.data.replay
    if replay is None or section is None or section.targets == "model":
        return parts.train, parts.isolated
    return [*parts.train, *replay.train], [*parts.isolated, *replay.isolated]


def _alone(potential: Potential, place: int, lacking: Sequence[int]) -> Potential:
    """Return one head, which takes the energies of elements that it lacks for 0."""
    table = potential.elements
    energies = table.reference_energies.copy()
    energies[place, [table.numbers.index(number) for number in lacking]] = 0.0
    filled = potential.replace(elements=ElementTable(table.numbers, energies))
    return with_head(filled, potential.config.levels[place])
