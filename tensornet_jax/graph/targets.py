"""Labels of padded structures: what a model is trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import Capacity

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Targets:
    """Labels of a padded graph by property; NaN where a label is missing and in padding.

    Energies come without the isolated atoms' energies, dipoles without what `dipole_of_position`
    adds to a prediction; all in the units of the table of properties.

    structures: labels of structures, (B, …).
    atoms: labels of atoms, (N, …).
    weights: how much the label of each structure counts, (B,) by name; 1 for a name without.
    """

    structures: Mapping[str, Float[Array, "structures ..."]]
    atoms: Mapping[str, Float[Array, "atoms ..."]]
    weights: Mapping[str, Float[Array, " structures"]] = field(default_factory=dict)

    def of(self, name: str) -> Array:
        """Return the labels of a property."""
        return self.atoms[name] if name in self.atoms else self.structures[name]

    @property
    def of_atoms(self) -> frozenset[str]:
        """Names of what has a row for each atom."""
        return frozenset(self.atoms)


def batch_targets(labels: Sequence[Targets], capacity: Capacity, dtype: str) -> Targets:
    """Pack labels of single structures (energy (), forces (n, 3), …) to match `batch_structures`.

    All structures have the same properties, NaN where a label is missing, and weights of the same
    names; padding has weight 0.

    Args:
        labels: of each structure.
        capacity: of the batch.
        dtype: of the result.
    """
    if not labels:
        return Targets({}, {})
    first, graphs, atoms = labels[0], capacity.graphs, capacity.atoms
    of_structures = {
        name: np.full((graphs, *np.shape(label)), np.nan, dtype)
        for name, label in first.structures.items()
    }
    of_atoms = {
        name: np.full((atoms, *label.shape[1:]), np.nan, dtype)
        for name, label in first.atoms.items()
    }
    weights = {name: np.zeros(graphs, dtype) for name in first.weights}
    start = 0
    for index, label in enumerate(labels):
        _put(of_structures, label.structures, index)
        _put(weights, label.weights, index)
        stop = start + len(next(iter(label.atoms.values()), ()))
        _put(of_atoms, label.atoms, slice(start, stop))
        start = stop
    return Targets(of_structures, of_atoms, weights)


def _put(arrays: Mapping[str, np.ndarray], values: Mapping[str, Array], where: int | slice) -> None:
    for name, value in values.items():
        arrays[name][where] = value
