"""From the data section of a configuration to structures with neighbours and targets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from tensornet_jax.data.audit import Audit, audit
from tensornet_jax.data.labels import LabelConfig, Labels, labels_of, source_of
from tensornet_jax.data.readers import read_structures
from tensornet_jax.data.references import (
    ReferenceEnergies,
    isolated_atom_indices,
    reference_energies,
)
from tensornet_jax.data.splits import Split, make_split
from tensornet_jax.graph.structure import Structure
from tensornet_jax.graph.targets import Targets
from tensornet_jax.models.common import ModelConfig
from tensornet_jax.models.tensor_config import TensorHead
from tensornet_jax.potential import dipole_of_position, prepare_structure
from tensornet_jax.train.data_config import DataConfig, ReplayConfig


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

    train: list[Atoms]
    validation: list[Atoms]
    isolated: list[Atoms]


@dataclass(frozen=True)
class Parts:
    """The structures of a run, read and divided, before reference energies are known.

    Attributes:
        pool: all that `data.train` names, without isolated atoms.
        train: structures to train on.
        validation: structures to validate on.
        tests: structures to test on, by name.
        isolated: isolated atoms in `data.train`; they are not trained on.
        replay: the replay set, where there is one.
    """

    pool: list[Atoms]
    train: list[Atoms]
    validation: list[Atoms]
    tests: dict[str, list[Atoms]]
    isolated: list[Atoms]
    replay: ReplayParts | None = None

    def all(self) -> dict[str, list[Atoms]]:
        """Return every set by name: train, validation, the tests, both parts of the replay set."""
        sets = {"train": self.train, "validation": self.validation, **self.tests}
        if self.replay is None:
            return sets
        return sets | {"replay train": self.replay.train, "replay": self.replay.validation}


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
    """

    train: list[Atoms]
    validation: list[Atoms]
    tests: dict[str, list[Atoms]]
    references: ReferenceEnergies
    audit: Audit
    replay: ReplayParts | None = None

    def all(self) -> dict[str, list[Atoms]]:
        """Return what is reported on by name: train, validation, the tests, replay held out."""
        replay = {"replay": self.replay.validation} if self.replay else {}
        return {"train": self.train, "validation": self.validation, **self.tests, **replay}


@dataclass(frozen=True)
class Examples:
    """Structures ready for the network, in the order of the set they come from.

    Attributes:
        structures: with their neighbour pairs.
        targets: labels in float64, the energy without the isolated atoms' energies.
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
    pool, isolated = _apart(read_structures(config.train, config.labels))
    if isolated and isolated is not pool:
        message(
            f"{len(isolated)} isolated atoms among the training structures are left out of "
            "training: they only give reference energies, where reference_energies says so"
        )
    parts = _split(config.held_out(), pool, seed, split_path, reuse_split, "data")
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
        replay = _read_replay(config.replay, seed, path, reuse_split)
    return Parts(pool, sets["train"], sets["validation"], tests, isolated, replay)


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
    found = audit(parts.pool, references, config.labels)
    apart: dict[str, list[Atoms]] = {"validation": parts.validation, **parts.tests}
    apart = {name: atoms for name, atoms in apart.items() if name not in config.held_out()}
    if parts.replay is not None:
        apart["replay"] = [*parts.replay.train, *parts.replay.validation]
    errors = list(found.errors)
    for name, atoms_list in apart.items():
        own = audit(atoms_list)
        errors += [f"{name} set: {text}" for text in own.errors]
        for text in own.warnings:
            message(f"{name} set: {text}")
    if errors:
        raise DataError("the data have errors:\n" + "\n".join(errors))
    return DataSets(parts.train, parts.validation, parts.tests, references, found, parts.replay)


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
        tensors = {head.name: _tensor(labels, head, len(atoms)) for head in model.tensors}
        of_atoms = {head.name for head in model.tensors if head.per == "atom"}
        targets.append(
            Targets(
                energy=np.float64(labels.energy - references.of(atoms.numbers) - offset),
                forces=labels.forces,
                stress=labels.stress,
                dipole=labels.dipole
                - dipole_of_position(model, structure.charge, structure.positions),
                tensors={name: t for name, t in tensors.items() if name not in of_atoms},
                atom_tensors={name: t for name, t in tensors.items() if name in of_atoms},
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


def _apart(atoms_list: list[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """Return structures to train on, and isolated atoms: all are both if there is nothing else."""
    alone = set(isolated_atom_indices(atoms_list))
    if len(alone) == len(atoms_list):
        return atoms_list, atoms_list
    return (
        [atoms for k, atoms in enumerate(atoms_list) if k not in alone],
        [atoms for k, atoms in enumerate(atoms_list) if k in alone],
    )


def _without_isolated(paths: tuple[str, ...], labels: LabelConfig) -> list[Atoms]:
    # A test set may lack a label that the training set is known to have, forces for instance.
    return _apart(read_structures(paths, labels, require_configured=False))[0]


def _read_replay(config: ReplayConfig, seed: int, path: Path, reuse: bool) -> ReplayParts:
    wanted = config.targets == "labels"
    read = read_structures(config.train, config.labels, require_configured=wanted)
    pool, isolated = _apart(read)
    held_out = {} if isinstance(config.validation, tuple) else {"validation": config.validation}
    parts = _split(held_out, pool, seed, path, reuse, "data.replay")
    if isinstance(config.validation, tuple):
        validation = _without_isolated(config.validation, config.labels)
    else:
        validation = [pool[k] for k in parts["validation"]]
    return ReplayParts([pool[k] for k in parts["train"]], validation, isolated)


def _split(
    held_out: dict[str, int | float],
    pool: Sequence[Atoms],
    seed: int,
    path: Path,
    reuse: bool,
    section: str,
) -> dict[str, tuple[int, ...]]:
    """Return the indices of each part; those of random tests lie beside the split's own."""
    if reuse and path.exists():
        split = Split.load(path, pool)
        tests = json.loads(path.read_text(encoding="utf-8")).get("test", {})
        return {"train": split.train, "validation": split.validation} | {
            name: tuple(indices) for name, indices in tests.items()
        }
    rest, parts = np.arange(len(pool)), {}
    for name, size in held_out.items():
        count = size if isinstance(size, int) else max(1, round(size * len(pool)))
        if count >= len(rest):
            raise DataError(
                f"{section}.{name if name == 'validation' else 'test.' + name} wants {count} of "
                f"{len(rest)} structures that are left, and training needs some: ask for fewer"
            )
        drawn = make_split(len(rest), None, count, seed)
        parts[name] = tuple(int(k) for k in rest[list(drawn.validation)])
        rest = rest[list(drawn.train)]
    validation = parts.pop("validation", ())
    split = Split(len(pool), tuple(int(k) for k in rest), validation, seed)
    split.save(path, pool)
    if parts:
        content = json.loads(path.read_text(encoding="utf-8")) | {"test": parts}
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
        partial.replace(path)
    return {"train": split.train, "validation": split.validation, **parts}


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
