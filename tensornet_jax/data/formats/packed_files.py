"""Packed files among the formats that every command reads."""

from collections.abc import Iterator
from pathlib import Path

from tensornet_jax.data.formats.frame import FileFormat, Frame
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.tensors import NAMES
from tensornet_jax.data.sources.packed_file import SUFFIX, PackedFile, is_packed


def read_packed(path: Path, config: LabelConfig) -> Iterator[Frame]:
    """Yield the structures of a packed file, with their labels under canonical keys."""
    for structure in PackedFile(path):
        atoms = structure.to_atoms(notes=False)
        if names := tuple(structure.labels.tensors):
            atoms.info[NAMES] = names
        if "charge" not in structure.keys and structure.state.charge == 0.0:
            # Nobody has stated it.
            del atoms.info["charge"]
        yield Frame(atoms, structure.source)


PACKED = FileFormat(read_packed, frozenset({SUFFIX}), is_packed)
