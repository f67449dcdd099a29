"""Errors beside the standard deviations that were predicted for them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tensornet_jax.potential.uncertainty.stored import SCALED


class Residuals(NamedTuple):
    """Errors of one property, component by component, and their predicted deviations.

    errors: predictions minus labels, in the unit of the property; energies per atom.
    deviations: in the same unit.
    """

    errors: Float[np.ndarray, " errors"]
    deviations: Float[np.ndarray, " errors"]


class Labelled(Protocol):
    """What has labels."""

    def of(self, name: str) -> ArrayLike:
        """Return the label of a property, NaN where it is missing."""
        ...


def residuals_of(
    predictions: Iterable[Mapping[str, ArrayLike]], labels: Iterable[Labelled]
) -> dict[str, Residuals]:
    """Return errors and deviations of each property that was predicted with a deviation.

    Args:
        predictions: with "forces_std" beside "forces" and so on, one for each structure.
        labels: of the same structures.
    """
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for prediction, label in zip(predictions, labels, strict=True):
        for name in SCALED:
            if name not in prediction or f"{name}_std" not in prediction:
                continue
            error = np.asarray(prediction[name], np.float64) - np.asarray(label.of(name))
            deviation = np.asarray(prediction[f"{name}_std"], np.float64)
            if name == "energy":
                size = len(np.asarray(label.of("forces")))
                error, deviation = error / max(size, 1), deviation / max(size, 1)
            elif name == "stress":
                # Symmetric: what stands below the diagonal says nothing new.
                upper = np.triu_indices(3)
                error, deviation = error[upper], deviation[upper]
            known = np.isfinite(error)
            found.setdefault(name, []).append((error[known], deviation[known]))
    joined = {
        name: Residuals(*(np.concatenate([np.atleast_1d(row) for row in rows]) for rows in columns))
        for name, columns in ((name, zip(*pairs, strict=True)) for name, pairs in found.items())
    }
    return {name: each for name, each in joined.items() if len(each.errors)}
