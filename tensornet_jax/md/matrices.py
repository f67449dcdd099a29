"""Products with 3×3 matrices: on a GPU in one kernel with what is around them.

A matrix product of XLA would be a kernel for itself.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int32

from tensornet_jax.md.blocks import in_blocks


def product(
    a: Float[Array, "structures 3 3"], b: Float[Array, "structures 3 3"]
) -> Float[Array, "structures 3 3"]:
    """Return the matrix products."""
    if not in_blocks():
        return a @ b
    first, second, third = (a[..., :, k : k + 1] * b[..., k : k + 1, :] for k in range(3))
    return first + second + third


def times_of_structures(
    vectors: Float[Array, "atoms 3"],
    matrices: Float[Array, "structures 3 3"],
    node_graph: Int32[Array, " atoms"],
) -> Float[Array, "atoms 3"]:
    """Return the vector of each atom times the matrix of its structure."""
    of_atoms = matrices[node_graph]
    if not in_blocks():
        return jnp.einsum("na,nab->nb", vectors, of_atoms)
    first, second, third = (vectors[:, k : k + 1] * of_atoms[:, k] for k in range(3))
    return first + second + third
