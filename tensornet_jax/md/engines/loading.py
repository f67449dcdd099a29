"""From the entries of the table of engines to their code, imported when it is needed."""

from importlib import import_module
from typing import TYPE_CHECKING

from tensornet_jax.md.engines.registry import Engine, Relaxing

if TYPE_CHECKING:
    from tensornet_jax.md.engines.dynamics import Dynamics
    from tensornet_jax.md.relaxers import Relaxer


def class_of(engine: Engine) -> "type[Dynamics]":
    """Return the class of an engine."""
    return getattr(import_module(engine.home), engine.class_name)


def relaxer_of(relaxing: Relaxing) -> "Relaxer":
    """Return the function that relaxes structures."""
    return getattr(import_module(relaxing.home), relaxing.function_name)
