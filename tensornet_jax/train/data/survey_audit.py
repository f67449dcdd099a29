"""The audit of data that are not held in memory, of each head by itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from tensornet_jax.data.auditing.audit import Audit, audit
from tensornet_jax.data.auditing.tally import closely, shared
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import is_isolated_atom
from tensornet_jax.data.references_by_head import References, about_head, by_head, table_of
from tensornet_jax.train.data.other_set import OtherSet
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.streamed_sets import StreamedSets
from tensornet_jax.train.data.survey import Level, Survey


def audited(
    sets: StreamedSets,
    survey: Survey,
    others: Mapping[str, OtherSet],
    references: References,
    message: Callable[[str], None],
) -> list[str]:
    """Audit all sets of a run, and return the description of the training data.

    Args:
        sets: the files.
        survey: the pass over those of `data.train`.
        others: what was found in files of other sets, by name.
        references: reference energies of the run.
        message: is told of warnings of other sets than the training set.

    Raises:
        DataError: the data have errors.
    """
    errors: list[str] = []
    warnings: list[str] = []
    lines: list[str] = []
    for head, level in survey.levels.items():
        found = _of_level(sets, head, level, references)
        found.warnings.extend(_shared(head, level, others))
        errors += [f"{about_head(head)}{text}" for text in found.errors]
        warnings += [f"{about_head(head)}{text}" for text in found.warnings]
        told = found.lines()
        lines += [f"head {head}", *(f"  {line}" for line in told)] if head else told
    files = sets.files()
    for name, other in others.items():
        for head, source in by_head(files[name], references).items():
            where = f"{name} set, {about_head(head)}" if head else f"{name} set: "
            own = audit(close_to_each_other(source))
            errors += [f"{where}{text}" for text in own.errors]
            for text in own.warnings:
                message(f"{where}{text}")
        other.check_elements(name, references)
    if errors:
        # The audit will not be shown, and what it warns of may be the cause.
        for text in warnings:
            message(f"warning: {text}")
        raise DataError("the data have errors:\n" + "\n".join(errors))
    return lines


def close_to_each_other(source: Sequence[LabelledStructure]) -> list[LabelledStructure]:
    """Return structures to look at closely, without isolated atoms."""
    some = [source[k] for k in closely(len(source))]
    return [each for each in some if not is_isolated_atom(each)]


def _of_level(sets: StreamedSets, head: str, level: Level, references: References) -> Audit:
    source = sets.train.source
    close = close_to_each_other(source.of_head(head) if head else source)
    table, labels = table_of(references, head), sets.labels_of(head)
    return level.tally.audit(close, table, labels, level.energies)


def _shared(head: str, level: Level, others: Mapping[str, OtherSet]) -> Iterator[str]:
    for name, other in others.items():
        digests = other.digests.get(head, ())
        if both := shared(level.tally.digests, digests):
            yield (
                f"{both} of {len(digests)} structures of the {name} set are also in the training "
                "set: errors on them say nothing about new structures"
            )
