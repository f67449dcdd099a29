"""From the data section of a configuration to structures with neighbors and targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from tensornet_jax.data.auditing import findings
from tensornet_jax.data.auditing.audit import Audit, audit
from tensornet_jax.data.auditing.overlap import overlap_warnings
from tensornet_jax.data.labels.by_file import file_lines
from tensornet_jax.data.labels.labels import Labels, labels_of, source_of
from tensornet_jax.data.labels.weights import weight_of
from tensornet_jax.data.references import ReferenceEnergies, reference_energies
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.targets import Targets
from tensornet_jax.models.common import ModelConfig
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.potential.potential import dipole_of_position, prepare_structure
from tensornet_jax.properties import LABELLED
from tensornet_jax.train.config.data import DataConfig
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

    train: list[Atoms]
    validation: list[Atoms]
    tests: dict[str, list[Atoms]]
    references: ReferenceEnergies
    audit: Audit
    replay: ReplayParts | None = None
    files: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the description of the training data, by file where there are several."""
        return [*self.files, *self.audit.lines()]

    def all(self) -> dict[str, list[Atoms]]:
        """Return what is reported on by name: train, validation, the tests, replay held out."""
        validation = {"validation": self.validation} if self.validation else {}
        replay = {"replay": self.replay.validation} if self.replay else {}
        return {"train": self.train, **validation, **self.tests, **replay}


@dataclass(frozen=True)
class Examples:
    """Structures ready for the network, in the order of the set they come from.

    Attributes:
        structures: with their neighbor pairs.
        targets: labels in float64, the energy without the isolated atoms' energies, and weights.
        sources: file and frame of each.
    """

    structures: list[Structure]
    targets: list[Targets]
    sources: list[str]

    def __len__(self) -> int:
        return len(self.structures)

    def __add__(self, other: "Examples") -> "Examples":
        return Examples(
            [*self.structures, *other.structures],
            [*self.targets, *other.targets],
            [*self.sources, *other.sources],
        )


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
    apart: dict[str, list[Atoms]] = {"validation": parts.validation, **parts.tests}
    apart = {name: own for name, own in apart.items() if own and name not in config.held_out()}
    if parts.replay is not None:
        apart["replay"] = [*parts.replay.train, *parts.replay.validation]
    for name, atoms_list in apart.items():
        own = audit(atoms_list)
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
    atoms_list: Sequence[Atoms],
    references: ReferenceEnergies,
    model: ModelConfig,
    offset: float = 0.0,
) -> Examples:
    """Return structures with lists of pairs and targets, computed once for the whole run.

    Args:
        atoms_list: structures with canonical labels.
        references: isolated-atom energies, subtracted from the energy in float64.
        model: says which lists it needs, how far they reach, and whether it needs charges.
        offset: of the potential, eV per structure, subtracted too.
    """
    structures, targets, sources = [], [], []
    for index, atoms in enumerate(atoms_list):
        sources.append(source_of(atoms, index))
        where = f" ({sources[-1]})"
        structure = prepare_structure(model, references.numbers, atoms, where)
        structures.append(structure)
        labels = labels_of(atoms)
        found = {row.name: labels.of(row.name) for row in LABELLED}
        found["energy"] = found["energy"] - references.of(atoms.numbers) - offset
        found["dipole"] = found["dipole"] - dipole_of_position(
            model, structure.charge, structure.positions
        )
        found |= {head.name: _tensor(labels, head, len(atoms)) for head in model.tensors}
        of_atoms = {row.name for row in (*LABELLED, *model.tensors) if row.per == "atom"}
        targets.append(
            Targets(
                structures={name: t for name, t in found.items() if name not in of_atoms},
                atoms={name: t for name, t in found.items() if name in of_atoms},
                weights={name: np.array(weight_of(atoms, name)) for name in found},
            )
        )
    return Examples(structures, targets, sources)


def labelled_properties(atoms_list: Sequence[Atoms]) -> tuple[str, ...]:
    """Return which properties at least one structure has a label for."""
    return tuple(dict.fromkeys(name for atoms in atoms_list for name in labels_of(atoms).names))


def _tensor(labels: Labels, head: TensorHead, num_atoms: int) -> np.ndarray:
    shape = (*((num_atoms,) if head.per == "atom" else ()), *head.space.shape)
    label = labels.tensors.get(head.name)
    if label is None:
        return np.full(shape, np.nan)
    if label.shape != shape:
        raise DataError(
            f"labels of {head.name} have shape {label.shape}, but its head, of symmetry "
            f"{head.symmetry} and per {head.per}, needs {shape}: check data.labels.tensors"
        )
    return label


def _check_elements(sets: dict[str, list[Atoms]], references: ReferenceEnergies) -> None:
    for name, atoms_list in sets.items():
        for index, atoms in enumerate(atoms_list):
            try:
                references.of(atoms.numbers)
            except ValueError as error:
                raise DataError(
                    f"{name} set, {source_of(atoms, index)}: {error}: "
                    "train on structures with this element, or leave this one out"
                ) from None
