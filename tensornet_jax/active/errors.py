"""Errors of a model beside the deviations it said."""

from collections.abc import Sequence

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.residuals import residuals_of
from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.train.evaluation.reliability import reliability_rows

COMPUTED = ("energy", "forces", "energy_std", "forces_std")


def reliability_on(
    name: str, potential: Potential, structures: Sequence[LabelledStructure]
) -> list[Json]:
    """Return for energies per atom (eV) and forces (eV/Å) how large errors are, and σ.

    Args:
        name: of the set.
        potential: with an uncertainty.
        structures: with labels.
    """
    predictions = potential.evaluate([each.atoms for each in structures], COMPUTED)
    found = residuals_of(predictions, [each.labels for each in structures])
    return [
        {
            "set": row.data_set,
            "property": row.property,
            "unit": row.unit,
            "count": row.count,
            "rmse": row.rmse,
            "sharpness": row.sharpness,
        }
        for row in reliability_rows(name, found)
    ]
