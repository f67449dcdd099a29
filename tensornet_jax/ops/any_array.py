"""Functions that take arrays of NumPy or of JAX and return the kind they were given."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from jax import Array

AnyArray = TypeVar("AnyArray", np.ndarray, "Array")
