"""Structures as points among which a potential tells them apart."""

from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Float

from tensornet_jax.models.config import require_last_layer
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.estimate import RIGIDITY
from tensornet_jax.potential.uncertainty.structure_features import features_per_atom


class PointsOf(NamedTuple):
    """Makes points of structures.

    potential: sees the structures.
    factor: points are features times this; None for the features as they are.
    scale: eV per unit of feature or, with a factor, of α times the length of a point.
    noise: eV per atom, deviation of a label's error; None where the model does not say it.
    """

    potential: Potential
    factor: Float[np.ndarray, "features rank"] | None
    scale: float
    noise: float | None

    def __call__(
        self, structures: Sequence[ase.Atoms], batch_size: int | None = None
    ) -> Float[np.ndarray, "structures rank"]:
        """Return points in the order of the structures, eV per atom.

        Their lengths are deviations of energies per atom, and distances those of differences of
        such energies; without an uncertainty features for weights of one.
        """
        found: np.ndarray | None = None
        for pack, rows in features_per_atom(self.potential, structures, batch_size):
            values = self.scale * (rows if self.factor is None else rows @ self.factor)
            if found is None:
                found = np.empty((len(structures), values.shape[1]))
            found[pack] = values
        return np.zeros((0, 0)) if found is None else found


def points_of(potential: Potential) -> PointsOf:
    """Return what makes points of the structures that a potential sees.

    Of last-layer prediction rigidity (arXiv:2403.02251) a point is α Lᵀ f with L Lᵀ = (C + ς²)⁻¹,
    where α is the deviation of errors of energies per atom that the covariance C was made of.

    Raises:
        ValueError: it has no energy, or no last layer that is known; several heads.
    """
    if potential.config.committee:
        potential.config.require_energy()
    else:
        require_last_layer(potential.config)
    if COLLECTION not in potential.variables:
        return PointsOf(potential, None, potential.energy_scale, None)
    estimate = potential.variables[COLLECTION]
    scale = float(potential.energy_scale) * float(estimate["scales"]["energy"])
    rigid = potential.metadata.get(COLLECTION, {}).get("estimator") == RIGIDITY
    factor = np.asarray(estimate["factor"], np.float64)
    return PointsOf(potential, factor, scale, scale if rigid else None)
