"""Checks that any potential can be put through: a `Potential`, or any ASE calculator.

Each returns the largest deviation it found and raises `CheckError`, an AssertionError, if that is
above the tolerance. The tolerances are for float64; a check compares what is exact in the physics,
so what remains is rounding and, for derivatives, the error of difference quotients.

    from tensornet_jax.testing import check_forces
    check_forces(calculator, atoms)
"""

from tensornet_jax.testing.checks import (
    check_batching,
    check_equivariance,
    check_extensive,
    check_forces,
    check_smooth_at_cutoff,
    check_stress,
)
from tensornet_jax.testing.deviations import CheckError
from tensornet_jax.testing.difference_quotients import (
    numerical_forces,
    numerical_hessian,
    numerical_stresses,
    transformed,
)

__all__ = [
    "CheckError",
    "check_batching",
    "check_equivariance",
    "check_extensive",
    "check_forces",
    "check_smooth_at_cutoff",
    "check_stress",
    "numerical_forces",
    "numerical_hessian",
    "numerical_stresses",
    "transformed",
]
