"""Labels of padded structures: what a model is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from tensornet_jax.graph.atom_graph import Capacity


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Targets:
    """Labels of a padded graph; NaN where a label is missing and in padding.

    energy: (B,) eV, the sum of the isolated atoms' energies taken off.
    forces: (N, 3) eV/Å.
    stress: (B, 3, 3) eV/Å³.
    dipole: (B, 3) e·Å, without what `dipole_of_position` adds to a prediction.
    tensors: others of structures by name, (B, 3, …).
    atom_tensors: others of atoms by name, (N, 3, …).
    weights: how much the label of each structure counts, (B,) by name; 1 for a name without.
    """

    energy: Any
    forces: Any
    stress: Any
    dipole: Any
    tensors: dict[str, Any] = field(default_factory=dict)
    atom_tensors: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Any:
        """Return the labels of a property or of a tensor."""
        others = self.tensors | self.atom_tensors
        return others[name] if name in others else getattr(self, name)

    @property
    def of_atoms(self) -> frozenset[str]:
        """Names of what has a row for each atom."""
        return frozenset({"forces", *self.atom_tensors})


def batch_targets(labels: Sequence["Targets"], capacity: Capacity, dtype: str) -> Targets:
    """Pack per-structure labels (energy (), forces (n, 3), …) to match `batch_structures`.

    All structures have the same tensors, NaN where a label is missing, and weights of the same
    names; padding has weight 0.

    Args:
        labels: of each structure.
        capacity: of the batch.
        dtype: of the result.
    """
    graphs, atoms = capacity.graphs, capacity.atoms
    first = labels[0] if labels else None
    tensors = {} if first is None else first.tensors
    atom_tensors = {} if first is None else first.atom_tensors
    packed = Targets(
        np.full(graphs, np.nan, dtype),
        np.full((atoms, 3), np.nan, dtype),
        np.full((graphs, 3, 3), np.nan, dtype),
        np.full((graphs, 3), np.nan, dtype),
        {name: np.full((graphs, *t.shape), np.nan, dtype) for name, t in tensors.items()},
        {name: np.full((atoms, *t.shape[1:]), np.nan, dtype) for name, t in atom_tensors.items()},
        {name: np.zeros(graphs, dtype) for name in ({} if first is None else first.weights)},
    )
    atom = 0
    for index, label in enumerate(labels):
        packed.energy[index] = label.energy
        packed.forces[atom : atom + len(label.forces)] = label.forces
        packed.stress[index] = label.stress
        packed.dipole[index] = label.dipole
        for name, weight in label.weights.items():
            packed.weights[name][index] = weight
        for name, tensor in label.tensors.items():
            packed.tensors[name][index] = tensor
        for name, tensor in label.atom_tensors.items():
            packed.atom_tensors[name][atom : atom + len(tensor)] = tensor
        atom += len(label.forces)
    return packed
