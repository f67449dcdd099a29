"""What can be checked, and what has to be known of it."""

from typing import TypeAlias

import numpy as np
from ase.calculators.calculator import BaseCalculator

from tensornet_jax.potential.potential import Potential

Model: TypeAlias = Potential | BaseCalculator
"""A potential, or any calculator of ASE's."""


def potential_of(model: Model) -> Potential | None:
    """Return the potential that a model is or has; None if it is another's."""
    potential = model if isinstance(model, Potential) else getattr(model, "potential", None)
    return potential if isinstance(potential, Potential) else None


def need_float64(model: Model) -> None:
    """Raise ValueError for a model of this package in float32."""
    potential = potential_of(model)
    if potential is not None and potential.dtype != "float64":
        raise ValueError(
            "difference quotients of float32 energies say nothing: use potential.astype('float64') "
            "or dtype='float64' of the calculator"
        )


def cutoff_of(model: Model) -> float:
    """Return the distance in Å where the last of a model's energies ends.

    Raises:
        ValueError: it is not known, or there is none.
    """
    potential = potential_of(model)
    if potential is None:
        raise ValueError(f"the cutoff of {type(model).__name__} is not known: pass cutoff=")
    if not np.isfinite(potential.config.reach):
        raise ValueError(
            "the Coulomb energy of all pairs never ends: nothing to check, or pass cutoff="
        )
    return potential.config.reach
