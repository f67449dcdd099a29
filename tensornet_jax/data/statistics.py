"""Numbers that set up a model or its batches: force scale, neighbors, largest structure."""

from collections.abc import Sequence, Sized

import numpy as np
from jaxtyping import Int

from tensornet_jax.data.labelled_structure import LabelledStructure


def force_rms(structures: Sequence[LabelledStructure]) -> float:
    """Return the root mean square of all labelled force components, eV/Å; NaN without any."""
    total, count = 0.0, 0
    for structure in structures:
        forces = structure.labels.of("forces")
        total += float(np.nansum(forces**2))
        count += int(np.count_nonzero(~np.isnan(forces)))
    return float(np.sqrt(total / count)) if count else float("nan")


def mean_neighbors(
    num_edges: Sequence[int] | Int[np.ndarray, " structures"],
    num_atoms: Sequence[int] | Int[np.ndarray, " structures"],
) -> float:
    """Return the mean number of neighbors of an atom over a data set.

    Args:
        num_edges: directed edges of each structure.
        num_atoms: atoms of each structure.
    """
    if len(num_edges) != len(num_atoms):
        raise ValueError(f"{len(num_edges)} edge counts for {len(num_atoms)} structures")
    atoms = int(np.sum(num_atoms))
    return float(np.sum(num_edges)) / atoms if atoms else 0.0


def largest(structures: Sequence[Sized]) -> int:
    """Return the number of atoms of the largest structure, 0 for an empty list."""
    return max(map(len, structures), default=0)
