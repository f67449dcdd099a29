"""Many small structures, made without a reader."""

import numpy as np
from ase import Atoms

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.labels import Labels


def many(count: int, seed: int = 0) -> list[LabelledStructure]:
    """Return structures of 2 to 5 atoms with energies and forces of nothing in particular."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        size = 2 + index % 4
        atoms = Atoms("OHHCN"[:size], rng.normal(size=(size, 3)) + 2.0 * np.arange(size)[:, None])
        labels = {"energy": rng.normal(), "forces": rng.normal(size=(size, 3))}
        found.append(LabelledStructure(atoms, Labels(size, labels), source=f"many.xyz:{index}"))
    return found
