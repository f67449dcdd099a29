"""Constant matrices applied to features, in the features' type and without TF32.

On NVIDIA GPUs XLA's default for float32 products rounds to TF32, ten bits.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float


def transform(
    features: Float[Array, "*batch old"], matrix: Float[np.ndarray, "old new"]
) -> Float[Array, "*batch new"]:
    """Apply a constant matrix (a, b) to the last axis of features (..., a)."""
    dtype = jnp.result_type(features, float)
    return jnp.matmul(
        features.astype(dtype), jnp.asarray(matrix, dtype), precision=lax.Precision.HIGHEST
    )


def transform_first(
    matrix: Float[np.ndarray, "new old"], components: Float[Array, "old ..."]
) -> Float[Array, "new ..."]:
    """Apply a constant matrix (b, a) to the first axis of components (a, ...)."""
    dtype = jnp.result_type(components, float)
    return jnp.einsum(
        "ba,a...->b...",
        jnp.asarray(matrix, dtype),
        components.astype(dtype),
        precision=lax.Precision.HIGHEST,
    )
