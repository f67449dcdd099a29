"""Structures with the labels that Atoms carry."""

from collections.abc import Iterable

from ase import Atoms

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import labelled_structure


def labelled(frames: Iterable[Atoms], file: str = "file.xyz") -> list[LabelledStructure]:
    """Return structures as they would be read from a file of this name."""
    return [labelled_structure(atoms, source=f"{file}:{k}") for k, atoms in enumerate(frames)]
