"""Which parameters are tables of rows, one for each element, sign of the charge or head.

A batch touches only the rows of what it holds. Were the others decayed all the same, what a model
knows of a rare element, or of a level of theory, would shrink with every batch that lacks it.
"""

from jaxtyping import PyTree

from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.models.physics.electronic_state import is_table
from tensornet_jax.potential.elements import depending_on_elements
from tensornet_jax.potential.heads import depending_on_heads
from tensornet_jax.potential.potential import Potential


def tables_of(potential: Potential) -> frozenset[str]:
    """Return the paths of a potential's parameters that have an axis of elements, charges, heads.

    Elements show in the shapes: a model for one more of them has a longer axis, whatever the name.
    """
    prefix = "params/"
    shaped = depending_on_elements(potential.config, potential.elements.numbers)
    if potential.config.num_levels > 1:
        shaped |= depending_on_heads(potential.config, potential.elements.numbers)
    found = {path.removeprefix(prefix) for path in shaped if path.startswith(prefix)}
    return frozenset(found | {p for p in by_path(potential.variables["params"]) if is_table(p)})


def tables_by_name(params: PyTree) -> frozenset[str]:
    """Return what runs took for tables before shapes were looked at; resumed, they still do."""
    return frozenset(path for path in by_path(params) if path.split("/")[-1] == "embedding")
