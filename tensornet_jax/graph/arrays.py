"""Where the arrays of a graph lie: on the host as numpy's, or on a device as JAX's."""

import numpy as np
from jax import Array
from typing_extensions import TypeVar

ArrayT = TypeVar("ArrayT", Array, np.ndarray, default=Array)
"""Arrays of a whole graph or list; JAX's unless the type says `np.ndarray`."""
