"""From the data section of a configuration to structures with neighbors and targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tensornet_jax.data.auditing import findings
from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.auditing.overlap import overlap_warnings
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.by_file import file_lines
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.references import ReferenceEnergies, reference_energies
from tensornet_jax.data.references_by_head import (
    HeadReferences,
    References,
    about_head,
    by_head,
    table_of,
)
from tensornet_jax.data.sources.source import Source, evenly
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.targets import Targets
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.potential.potential import ElementTable
from tensornet_jax.potential.preparation import prepare_structure
from tensornet_jax.potential.results import Assembly
from tensornet_jax.properties import LABELLED
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.data.examples import Example
from tensornet_jax.train.data.parts import DataError, Parts, ReplayParts, read_parts

REPORTED = 10_000
"""Structures of a set that is not held in memory whose errors are reported after training."""


@dataclass(frozen=True)
class DataSets:
    """The structures of a run.

    Attributes:
        train: structures to train on.
        validation: structures to validate on.
        tests: structures to test on, by name.
        references: isolated-atom energies, from the training structures where they are fitted.
        description: lines on all that `data.train` names, before it is divided.
        replay: the replay set, energies counted from `references` as those of the others are.
    """

    train: Sequence[LabelledStructure]
    validation: Sequence[LabelledStructure]
    tests: Mapping[str, Sequence[LabelledStructure]]
    references: References
    description: list[str]
    replay: ReplayParts | None = None

    def lines(self) -> list[str]:
        """Return the description of the training data, by file where there are several."""
        return self.description

    def all(self) -> dict[str, Sequence[LabelledStructure]]:
        """Return what is reported on by name: train, validation, the tests, replay held out.

        Of several heads each is apart. Of a set that is not held in memory these are some
        structures, evenly spaced.
        """
        return self._by_head({"train": self.train}) | self.held_out()

    def held_out(self) -> dict[str, Sequence[LabelledStructure]]:
        """Return `all` but for what is trained on."""
        validation = {"validation": self.validation} if len(self.validation) else {}
        replay = {"replay": self.replay.validation} if self.replay else {}
        return self._by_head({**validation, **self.tests, **replay})

    def _by_head(
        self, sets: Mapping[str, Sequence[LabelledStructure]]
    ) -> dict[str, Sequence[LabelledStructure]]:
        return {
            f"{name} ({head})" if head else name: _shown(own)
            for name, structures in sets.items()
            for head, own in by_head(structures, self.references).items()
        }


def _shown(structures: Sequence[LabelledStructure]) -> Sequence[LabelledStructure]:
    if not isinstance(structures, Source):
        return structures
    return [structures[k] for k in evenly(len(structures), REPORTED).tolist()]


def make_data_sets(
    parts: Parts,
    config: DataConfig,
    references: References,
    message: Callable[[str], None],
) -> DataSets:
    """Audit the structures of a run and return them with their reference energies.

    Args:
        parts: the structures; energies of a replay set are counted from `references`.
        config: the data section.
        references: isolated-atom energies.
        message: takes sentences for the user.

    Raises:
        DataError: the audit found an error, or an element outside training occurs elsewhere.
    """
    _check_elements({name: s for name, s in parts.all().items() if name != "train"}, references)
    errors, warnings, lines = _audited(parts, references)
    apart: dict[str, list[LabelledStructure]] = {"validation": parts.validation, **parts.tests}
    apart = {name: own for name, own in apart.items() if own and name not in config.held_out()}
    if parts.replay is not None:
        apart["replay"] = [*parts.replay.train, *parts.replay.validation]
    for name, structures in apart.items():
        for head, some in by_head(structures, references).items():
            own, where = audit(some), f"{name} set, {about_head(head)}" if head else f"{name} set: "
            errors += [f"{where}{text}" for text in own.errors]
            for text in own.warnings:
                message(f"{where}{text}")
    shared = _shared(parts, references)
    if errors:
        # The audit will not be shown, and what it warns of may be the cause.
        for text in (*warnings, *shared):
            message(f"warning: {text}")
        raise DataError("the data have errors:\n" + "\n".join(errors))
    return DataSets(
        parts.train,
        parts.validation,
        parts.tests,
        references,
        [*file_lines(parts.groups), *lines, *(f"warning: {text}" for text in shared)],
        parts.replay,
    )


def _audited(parts: Parts, references: References) -> tuple[list[str], list[str], list[str]]:
    """Return errors, warnings and the description of the training data, of each head by itself."""
    errors: list[str] = []
    warnings: list[str] = []
    lines: list[str] = []
    for head, pool in by_head(parts.pool, references).items():
        groups = [g for g in parts.groups if not head or (g[1] and g[1][0].head == head)]
        # Keys that the configuration names are looked for where it says that they are.
        alone = groups[0][0] if len(groups) == 1 else None
        found = audit(pool, table_of(references, head), alone)
        own = list(found.errors)
        if alone is None:
            own += [e for labels, some in groups for e in findings.unused_keys(some, labels)]
        errors += [f"{about_head(head)}{text}" for text in own]
        warnings += [f"{about_head(head)}{text}" for text in found.warnings]
        told = found.lines()
        lines += [f"head {head}", *(f"  {line}" for line in told)] if head else told
    return errors, warnings, lines


def _shared(parts: Parts, references: References) -> list[str]:
    """Return warnings of structures that two sets of one head have in common."""
    sets = {"train": parts.train, "validation": parts.validation, **parts.tests}
    found = []
    groups = [(sets, "train")]
    if parts.replay is not None:
        again = {"replay train": parts.replay.train, "replay": parts.replay.validation}
        groups.append((again, "replay train"))
    for each, train in groups:
        for head in references.heads if isinstance(references, HeadReferences) else ("",):
            own = {name: by_head(some, references).get(head, []) for name, some in each.items()}
            found += [f"{about_head(head)}{text}" for text in overlap_warnings(own, train)]
    return found


def read_data_sets(
    config: DataConfig,
    seed: int,
    split_path: Path,
    *,
    reuse_split: bool,
    message: Callable[[str], None],
) -> DataSets:
    """Read, split and audit the structures of a run that starts from random weights.

    Structures that are one isolated atom serve as reference energies and are not trained on.

    Args:
        config: the data section, without replay.
        seed: of the split.
        split_path: where the split is written, or read from.
        reuse_split: read and check the split of an earlier piece of the run, if it is there.
        message: takes sentences for the user.

    Raises:
        DataError: the audit found an error, or an element outside training occurs elsewhere.
        ValueError: files, labels or the split cannot be used.
    """
    parts = read_parts(config, seed, split_path, reuse_split=reuse_split, message=message)
    return make_data_sets(parts, config, _references(parts, config), message)


def _references(parts: Parts, config: DataConfig) -> References:
    heads = config.heads()
    if len(heads) < 2:
        return _of_one_head(parts.train, parts.isolated, config, heads[0] if heads else None)
    tables = []
    for head in heads:
        train, isolated = (
            [each for each in some if each.head == head] for some in (parts.train, parts.isolated)
        )
        if not train:
            raise DataError(f"no structure of head {head} is trained on: hold out fewer")
        try:
            tables.append(_of_one_head(train, isolated, config, head))
        except ValueError as error:
            raise ValueError(f"{about_head(head)}{error}") from error
    return HeadReferences(heads, tuple(tables))


def _of_one_head(
    train: Sequence[LabelledStructure],
    isolated: Sequence[LabelledStructure],
    config: DataConfig,
    head: str | None,
) -> ReferenceEnergies:
    spec, labels = config.references_of(head)
    # Isolated atoms must not take part in a fit to energies of molecules and crystals.
    more = isolated if spec == "isolated_atoms" else []
    return reference_energies(spec, [*train, *more], labels)


@dataclass(frozen=True)
class ExampleMaker:
    """From a structure with labels to an example.

    Attributes:
        references: isolated-atom energies, subtracted from the energy in float64.
        model: says which lists it needs, how far they reach, and whether it needs charges.
        offset: of the potential, eV per structure, subtracted too.
    """

    references: References
    model: ModelConfig
    offset: float = 0.0

    def __call__(self, structure: LabelledStructure) -> Example:
        """Search the neighbors of a structure and prepare its labels."""
        source, numbers = structure.source, self.references.numbers
        prepared = prepare_structure(self.model, numbers, structure.atoms, f" ({source})")
        return Example(prepared, _targets(structure, prepared, self._assembly, self.model), source)

    @cached_property
    def _assembly(self) -> Assembly:
        elements = ElementTable(self.references.numbers, self.references.energies)
        return Assembly(self.model, elements, self.offset)


def _targets(
    structure: LabelledStructure,
    prepared: Structure,
    assembly: Assembly,
    model: ModelConfig,
) -> Targets:
    labels = structure.labels
    found = {row.name: labels.of(row.name) for row in LABELLED}
    energy, dipole = assembly.asked_of_model(structure.energy, labels.of("dipole"), prepared)
    found |= {"energy": np.array(energy), "dipole": dipole}
    found |= {head.name: _tensor(labels, head) for head in model.tensors}
    of_atoms = {row.name for row in (*LABELLED, *model.tensors) if row.per == "atom"}
    return Targets(
        structures={name: t for name, t in found.items() if name not in of_atoms},
        atoms={name: t for name, t in found.items() if name in of_atoms},
        weights={name: np.array(structure.weights.of(name)) for name in found},
    )


def labelled_properties(structures: Sequence[LabelledStructure]) -> tuple[str, ...]:
    """Return which properties and tensors at least one structure has a label for."""
    return tuple(dict.fromkeys(name for structure in structures for name in structure.labels))


def _tensor(labels: Labels, head: TensorHead) -> np.ndarray:
    shape = (*((labels.num_atoms,) if head.per == "atom" else ()), *head.space.shape)
    label = labels.get(head.name)
    if label is None:
        return np.full(shape, np.nan)
    if label.shape != shape:
        raise DataError(
            f"labels of {head.name} have shape {label.shape}, but its head, of symmetry "
            f"{head.symmetry} and per {head.per}, needs {shape}: check data.labels.tensors"
        )
    return label


def _check_elements(sets: dict[str, list[LabelledStructure]], references: References) -> None:
    for name, structures in sets.items():
        for structure in structures:
            try:
                references.of_structure(structure)
            except ValueError as error:
                raise DataError(
                    f"{name} set, {structure.source}: {error}: "
                    "train on structures with this element, or leave this one out"
                ) from None
