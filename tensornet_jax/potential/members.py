"""The members of a committee, each a potential of its own."""

import jax

from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.stored import without_uncertainty


def members(potential: Potential) -> list[Potential]:
    """Return the members of a committee, which know no standard deviations.

    Raises:
        ValueError: it is no committee.
    """
    size = potential.config.committee
    if size is None:
        raise ValueError("this potential is no committee: it has no members")
    return [_member(potential, index) for index in range(size)]


def _member(potential: Potential, index: int) -> Potential:
    with potential.precision():
        params = jax.tree.map(lambda leaf: leaf[index], potential.variables["params"])
    return without_uncertainty(potential).replace(
        config=potential.config.model_copy(update={"committee": None}),
        variables={"params": params, "buffers": potential.variables["buffers"]},
    )
