"""The floating-point scope a potential computes in, whatever its importer has set globally."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from tensornet_jax.runtime.choices import MatmulPrecision
from tensornet_jax.runtime.forked import check_not_forked


@contextmanager
def precision_scope(dtype: str, matmul: MatmulPrecision = "highest") -> Iterator[None]:
    """Compute in float32 or float64 inside the block, and leave JAX's global setting alone.

    float32 means float32: unless asked to by `matmul`, accelerators do not round the factors of
    matrix products to TF32 or bfloat16. CPUs never do.

    Raises:
        ValueError: dtype is neither "float32" nor "float64".
        ForkedError: this process was forked after JAX had started.
    """
    check_not_forked()
    if dtype not in ("float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", not {dtype!r}')
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(matmul):
        yield
