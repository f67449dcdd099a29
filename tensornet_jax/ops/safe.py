"""Norms and quotients whose gradients stay finite at zero.

The derivative of sqrt at 0 is infinite, and ``where(x > 0, sqrt(x), 0)`` still multiplies that
infinity by zero when differentiated, which is NaN. So the *input* is replaced first: the
"double where".
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def norm(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Euclidean norm over the last axis with zero gradient at the zero vector.

    Args:
        vectors: (..., 3) any unit.

    Returns:
        (...) in the unit of ``vectors``.
    """
    squared = jnp.sum(vectors * vectors, axis=-1)
    is_zero = squared == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squared)))


def divide(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """Quotient that is 0, with zero gradient, where the denominator is 0."""
    is_zero = denominator == 0
    return jnp.where(is_zero, 0, numerator / jnp.where(is_zero, 1, denominator))
