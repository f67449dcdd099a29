"""Last-layer prediction rigidity (arXiv:2403.02251).

What a model says of a structure is the surer, the more the features of its last layer are like
those of the training set. With features f_A = Σ_i φ_i / N_A, whose product with the weights is the
energy per atom, and their covariance

    C = Σ_A f_A f_Aᵀ,   σ²(f) = α² fᵀ (C + ς²)⁻¹ f

where α scales to the errors found, and the regularizer ς² stands for what the data leave open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from tensornet_jax.potential.uncertainty.calibration import best_scale, negative_log_likelihood

# Relative to the largest eigenvalue of C. Below the smallest, rounding of float32 features would be
# seen: its share of a deviation is 1e-7/√r.
REGULARIZERS = tuple(float(10.0**power) for power in np.arange(-10, -1.5, 0.5))


@dataclass
class Covariance:
    """C, added up in float64 while structures pass by.

    num_structures: how many have passed.
    """

    size: int
    num_structures: int = 0
    matrix: Float[np.ndarray, "features features"] = field(init=False)

    def __post_init__(self) -> None:
        """Start at zero."""
        self.matrix = np.zeros((self.size, self.size))

    def add(self, features: Iterable[Float[np.ndarray, " features"]]) -> None:
        """Add f fᵀ of structures with these features per atom."""
        rows = np.stack([np.asarray(each, np.float64) for each in features])
        self.matrix += rows.T @ rows
        self.num_structures += len(rows)

    def factor(self, regularizer: float) -> Float[np.ndarray, "features features"]:
        """Return L with L Lᵀ = (C + ς²)⁻¹.

        Args:
            regularizer: ς² over the largest eigenvalue of C.

        Raises:
            ValueError: all features are zero, or not finite.
        """
        if not np.isfinite(self.matrix).all():
            raise ValueError("features of the last layer are not finite: check the structures")
        values, vectors = np.linalg.eigh(self.matrix)
        if not values[-1] > 0:
            raise ValueError(
                "the last layer sees nothing of these structures: give some whose atoms have "
                "neighbors"
            )
        inverse = 1 / (np.maximum(values, 0) + regularizer * values[-1])
        return vectors * np.sqrt(inverse)


def best_regularizer(
    covariance: Covariance,
    features: Float[np.ndarray, "structures features"],
    errors: Float[np.ndarray, " structures"],
) -> float:
    """Return the regularizer under which errors that were found are the most likely, α included.

    Args:
        covariance: of the sample.
        features: per atom, of structures that are not in it.
        errors: of their energies per atom, eV.
    """

    def unlikeliness(regularizer: float) -> float:
        deviations = np.linalg.norm(features @ covariance.factor(regularizer), axis=1)
        return negative_log_likelihood(errors, best_scale(errors, deviations) * deviations)

    return min(REGULARIZERS, key=unlikeliness)


def random_directions(
    factor: Float[np.ndarray, "features rank"], count: int, seed: int
) -> Float[np.ndarray, "features count"]:
    """Return D with D Dᵀ = L Lᵀ on average: L times orthogonal directions, drawn at random.

    All directions together give L Lᵀ itself, and so do not depend on chance.

    Args:
        factor: L.
        count: how many, up to the rank.
        seed: of the directions.
    """
    rank = factor.shape[1]
    if count >= rank:
        return factor
    normal = np.random.default_rng(seed).normal(size=(rank, rank))
    orthogonal, upper = np.linalg.qr(normal)
    # With the signs of the diagonal, directions are spread evenly.
    orthogonal = orthogonal * np.sign(np.diag(upper))
    return factor @ orthogonal[:, :count] * np.sqrt(rank / count)
