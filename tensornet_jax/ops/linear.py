"""Constant matrices applied to features, in the features' type and without TF32.

On NVIDIA GPUs XLA's default for float32 products rounds to TF32, ten bits.
"""

from collections.abc import Iterable, Sequence

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


def by_component(
    values: Sequence[Float[Array, "..."]], sizes: Iterable[int]
) -> Float[Array, "components ..."]:
    """Values of irreducible parts, for each component of the parts: no gather, so no scatter.

    Args:
        values: of one shape, one for each part.
        sizes: components of each part.

    Returns:
        (Σ sizes, ...).
    """
    pairs = zip(values, sizes, strict=True)
    return jnp.stack([value for value, size in pairs for _ in range(size)])
