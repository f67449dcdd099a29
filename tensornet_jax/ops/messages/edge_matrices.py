"""Small matrices, one an edge, applied to channels: the inner loops of messages.

`mix` sums over the few columns of the matrices and `overlap` over the many channels. Each is the
derivative of the other, so all derivatives run in the two loops that are fast: written as products
and sums, XLA takes the sum over channels in the slowest possible order on a CPU (30 times slower),
and as batched matrix products it pays for each of the thousands of small ones.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.keeping_inputs import keeping_inputs

# More columns than these are better left to a matrix product.
_MOST_COLUMNS = 64


@jax.custom_vjp
def mix(
    matrices: Float[Array, "edges new old"], features: Float[Array, "edges old channels"]
) -> Float[Array, "edges new channels"]:
    """Apply (E, m, n) to (E, n, C), giving (E, m, C)."""
    columns = matrices.shape[-1]
    if jax.default_backend() != "cpu" or not 0 < columns <= _MOST_COLUMNS:
        return jnp.matmul(matrices, features, precision=lax.Precision.HIGHEST)
    terms = (matrices[:, :, n, None] * features[:, n, None] for n in range(columns))
    return sum(terms, jnp.zeros((), features.dtype))


@jax.custom_vjp
def overlap(
    first: Float[Array, "edges rows channels"], second: Float[Array, "edges columns channels"]
) -> Float[Array, "edges rows columns"]:
    """Σ over channels of (E, m, C) times (E, n, C), giving (E, m, n)."""
    return jnp.einsum("emc,enc->emn", first, second, precision=lax.Precision.HIGHEST)


def _mix_backward(inputs: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    matrices, features = inputs
    return overlap(cotangent, features), mix(matrices.mT, cotangent)


def _overlap_backward(inputs: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    first, second = inputs
    return mix(cotangent, second), mix(cotangent.mT, first)


mix.defvjp(keeping_inputs(mix), _mix_backward)
overlap.defvjp(keeping_inputs(overlap), _overlap_backward)
