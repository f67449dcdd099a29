"""From the data section of a configuration to structures with neighbours and targets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from tensornet_jax.data.audit import Audit, audit
from tensornet_jax.data.labels import labels_of, source_of
from tensornet_jax.data.readers import read_structures
from tensornet_jax.data.references import (
    ReferenceEnergies,
    isolated_atom_indices,
    reference_energies,
)
from tensornet_jax.data.splits import Split, make_split
from tensornet_jax.graph.atom_graph import Structure, Targets, make_structure
from tensornet_jax.train.config import DataConfig


class DataError(ValueError):
    """Data that cannot be trained on; the text says which structure or label, and the remedy."""


@dataclass(frozen=True)
class DataSets:
    """The structures of a run.

    Attributes:
        train: structures to train on.
        validation: structures to validate on.
        tests: structures to test on, by name.
        references: isolated-atom energies, from the training structures where they are fitted.
        audit: the description of all that `data.train` names, before it is divided.
    """

    train: list[Atoms]
    validation: list[Atoms]
    tests: dict[str, list[Atoms]]
    references: ReferenceEnergies
    audit: Audit

    def all(self) -> dict[str, list[Atoms]]:
        """Return every set by name: train, validation, then the tests."""
        return {"train": self.train, "validation": self.validation, **self.tests}


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


def read_data_sets(
    config: DataConfig,
    seed: int,
    split_path: Path,
    *,
    reuse_split: bool,
    message: Callable[[str], None],
) -> DataSets:
    """Read, split and audit the structures of a run.

    Structures that are one isolated atom serve as reference energies and are not trained on.

    Args:
        config: the data section.
        seed: of the split.
        split_path: where the split is written, or read from.
        reuse_split: read and check the split of an earlier piece of the run, if it is there.
        message: takes sentences for the user.

    Raises:
        DataError: the audit found an error, or an element outside training occurs elsewhere.
        ValueError: files, labels or the split cannot be used.
    """
    pool = read_structures(config.train, config.labels)
    isolated = [pool[k] for k in isolated_atom_indices(pool)]
    if isolated and len(isolated) < len(pool):
        alone = {id(atoms) for atoms in isolated}
        pool = [atoms for atoms in pool if id(atoms) not in alone]
        message(
            f"{len(isolated)} isolated atoms among the training structures are left out of "
            "training: they only give reference energies, where reference_energies says so"
        )
    parts = _split(config, pool, seed, split_path, reuse_split)
    sets = {name: [pool[k] for k in indices] for name, indices in parts.items()}
    if isinstance(config.validation, tuple):
        sets["validation"] = _without_isolated(config.validation, config)
    tests = {
        name: _without_isolated(source, config) if isinstance(source, tuple) else sets[name]
        for name, source in config.test.items()
    }
    train = sets["train"]
    # Isolated atoms must not take part in a fit to energies of molecules and crystals.
    fitted_on = train + isolated if config.reference_energies == "isolated_atoms" else train
    references = reference_energies(config.reference_energies, fitted_on, config.labels)
    _check_elements({"validation": sets["validation"], **tests}, references)
    found = audit(pool, references, config.labels)
    errors = list(found.errors)
    for name in ("validation", *tests):
        if name not in config.held_out():
            apart = audit(sets["validation"] if name == "validation" else tests[name])
            errors += [f"{name} set: {text}" for text in apart.errors]
            for text in apart.warnings:
                message(f"{name} set: {text}")
    if errors:
        raise DataError("the data have errors:\n" + "\n".join(errors))
    return DataSets(train, sets["validation"], tests, references, found)


def make_examples(
    atoms_list: Sequence[Atoms], references: ReferenceEnergies, cutoff: float
) -> Examples:
    """Return structures with neighbour pairs and targets, computed once for the whole run.

    Args:
        atoms_list: structures with canonical labels.
        references: isolated-atom energies, subtracted from the energy in float64.
        cutoff: of the model, Å.
    """
    structures, targets, sources = [], [], []
    for index, atoms in enumerate(atoms_list):
        sources.append(source_of(atoms, index))
        structures.append(make_structure(atoms, references.numbers, cutoff, f" ({sources[-1]})"))
        labels = labels_of(atoms)
        targets.append(
            Targets(
                energy=np.float64(labels.energy - references.of(atoms.numbers)),
                forces=labels.forces,
                stress=labels.stress,
                dipole=labels.dipole,
            )
        )
    return Examples(structures, targets, sources)


def labelled_properties(atoms_list: Sequence[Atoms]) -> tuple[str, ...]:
    """Return which of energy, forces, stress and dipole at least one structure has a label for."""
    return tuple(
        name
        for name in ("energy", "forces", "stress", "dipole")
        if any(not np.isnan(getattr(labels_of(atoms), name)).all() for atoms in atoms_list)
    )


def _without_isolated(paths: tuple[str, ...], config: DataConfig) -> list[Atoms]:
    # A test set may lack a label that the training set is known to have, forces for instance.
    atoms_list = read_structures(paths, config.labels, require_configured=False)
    alone = set(isolated_atom_indices(atoms_list))
    if len(alone) == len(atoms_list):
        return atoms_list
    return [atoms for k, atoms in enumerate(atoms_list) if k not in alone]


def _split(
    config: DataConfig, pool: Sequence[Atoms], seed: int, path: Path, reuse: bool
) -> dict[str, tuple[int, ...]]:
    """Return the indices of each part; those of random tests lie beside the split's own."""
    held_out = config.held_out()
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
                f"data.{name if name == 'validation' else 'test.' + name} wants {count} of "
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
