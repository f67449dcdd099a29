"""The floating-point scope a potential computes in, whatever its importer has set globally."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import jax

DType = Literal["float32", "float64"]


@contextmanager
def precision_scope(dtype: str) -> Iterator[None]:
    """Compute in float32 or float64 inside the block, and leave JAX's global setting alone.

    float32 means float32: matrix products are not rounded to TF32 or bfloat16 on accelerators.

    Raises:
        ValueError: dtype is neither "float32" nor "float64".
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", not {dtype!r}')
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield
