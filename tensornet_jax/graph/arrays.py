"""Where the arrays of a graph lie: on the host as numpy's, or on a device as JAX's."""

from types import ModuleType

import jax.numpy as jnp
import numpy as np
from jax import Array
from typing_extensions import TypeVar

ArrayT = TypeVar("ArrayT", Array, np.ndarray, default=Array)
"""Arrays of a whole graph or list; JAX's unless the type says `np.ndarray`."""


def library_of(array: ArrayT) -> ModuleType:
    """Return the library, numpy or jax.numpy, whose functions keep an array where it lies."""
    return np if isinstance(array, np.ndarray) else jnp
