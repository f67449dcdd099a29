"""From the data section of a configuration to structures with neighbors and targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tensornet_jax.data.auditing import findings
from tensornet_jax.data.auditing.audit import Audit, audit
from tensornet_jax.data.auditing.overlap import overlap_warnings
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.by_file import file_lines
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.references import ReferenceEnergies, reference_energies
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.targets import Targets
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.potential.potential import ElementTable
from tensornet_jax.potential.preparation import prepare_structure
from tensornet_jax.potential.results import Assembly
from tensornet_jax.properties import LABELLED
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.data.examples import Example, HeldExamples
from tensornet_jax.train.data.parts import DataError, Parts, ReplayParts, read_parts


@dataclass(frozen=True)
class DataSets:
    """The structures of a run.

    Attributes:
        train: structures to train on.
        validation: structures to validate on.
        tests: structures to test on, by name.
        references: isolated-atom energies, from the training structures where they are fitted.
        audit: the description of all that `data.train` names, before it is divided.
        replay: the replay set, energies counted from `references` as those of the others are.
        files: a line on each file that `data.train` names, if there are several.
    """

    train: list[LabelledStructure]
    validation: list[LabelledStructure]
    tests: dict[str, list[LabelledStructure]]
    references: ReferenceEnergies
    audit: Audit
    replay: ReplayParts | None = None
    files: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the description of the training data, by file where there are several."""
        return [*self.files, *self.audit.lines()]

    def all(self) -> dict[str, list[LabelledStructure]]:
        """Return what is reported on by name: train, validation, the tests, replay held out."""
        validation = {"validation": self.validation} if self.validation else {}
        replay = {"replay": self.replay.validation} if self.replay else {}
        return {"train": self.train, **validation, **self.tests, **replay}


def make_data_sets(
    parts: Parts,
    config: DataConfig,
    references: ReferenceEnergies,
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
    _check_elements({"validation": parts.validation, **parts.tests}, references)
    # Keys that the configuration names are looked for where it says that they are.
    alone = parts.groups[0][0] if len(parts.groups) == 1 else None
    found = audit(parts.pool, references, alone)
    errors = list(found.errors)
    if alone is None:
        errors += [e for labels, own in parts.groups for e in findings.unused_keys(own, labels)]
    apart: dict[str, list[LabelledStructure]] = {"validation": parts.validation, **parts.tests}
    apart = {name: own for name, own in apart.items() if own and name not in config.held_out()}
    if parts.replay is not None:
        apart["replay"] = [*parts.replay.train, *parts.replay.validation]
    for name, structures in apart.items():
        own = audit(structures)
        errors += [f"{name} set: {text}" for text in own.errors]
        for text in own.warnings:
            message(f"{name} set: {text}")
    shared = overlap_warnings({"train": parts.train, "validation": parts.validation, **parts.tests})
    if parts.replay is not None:
        sets = {"replay train": parts.replay.train, "replay": parts.replay.validation}
        shared += overlap_warnings(sets, train="replay train")
    if errors:
        # The audit will not be shown, and what it warns of may be the cause.
        for text in (*found.warnings, *shared):
            message(f"warning: {text}")
        raise DataError("the data have errors:\n" + "\n".join(errors))
    found = replace(found, warnings=[*found.warnings, *shared])
    return DataSets(
        parts.train,
        parts.validation,
        parts.tests,
        references,
        found,
        parts.replay,
        file_lines(parts.groups),
    )


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
    # Isolated atoms must not take part in a fit to energies of molecules and crystals.
    isolated = parts.isolated if config.reference_energies == "isolated_atoms" else []
    fitted_on = [*parts.train, *isolated]
    references = reference_energies(config.reference_energies, fitted_on, config.labels)
    return make_data_sets(parts, config, references, message)


def make_examples(
    structures: Sequence[LabelledStructure],
    references: ReferenceEnergies,
    model: ModelConfig,
    offset: float = 0.0,
) -> HeldExamples:
    """Return structures with lists of pairs and targets, computed once for the whole run.

    Args:
        structures: with labels.
        references: isolated-atom energies, subtracted from the energy in float64.
        model: says which lists it needs, how far they reach, and whether it needs charges.
        offset: of the potential, eV per structure, subtracted too.
    """
    assembly = Assembly(model, ElementTable(references.numbers, references.energies), offset)

    def example(each: LabelledStructure) -> Example:
        prepared = prepare_structure(model, references.numbers, each.atoms, f" ({each.source})")
        return Example(prepared, _targets(each, prepared, assembly, model), each.source)

    return HeldExamples([example(each) for each in structures])


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


def _check_elements(
    sets: dict[str, list[LabelledStructure]], references: ReferenceEnergies
) -> None:
    for name, structures in sets.items():
        for structure in structures:
            try:
                references.of(structure.numbers)
            except ValueError as error:
                raise DataError(
                    f"{name} set, {structure.source}: {error}: "
                    "train on structures with this element, or leave this one out"
                ) from None
