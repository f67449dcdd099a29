"""What every model knows of an atom before its read-outs, in one form for all heads."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.cartesian import RankTwo
from tensornet_jax.tensors.symmetry import tensor_symmetry


class AtomFeatures(NamedTuple):
    """Features of the atoms.

    scalars: invariant.
    parts: by degree 0 … L, 2l + 1 components in e3nn's order; under inversion as harmonics.
    """

    scalars: Float[Array, "atoms features"]
    parts: list[Float[Array, "atoms _ channels"]]


def deviator_to_harmonics() -> Float[np.ndarray, "5 5"]:
    """Orthogonal matrix from the deviator's coordinates in `ops.cartesian` to degree 2."""
    units = np.zeros((5, 3, 3))
    for row, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        units[row, i, j] = units[row, j, i] = 0.5**0.5
    units[3, 0, 0], units[3, 1, 1] = 0.5**0.5, -(0.5**0.5)
    units[4] = np.diag([-1.0, -1.0, 2.0]) / 6**0.5
    return tensor_symmetry("ij=ji", traceless=True).to_irreps(units).T


def parts_of_tensors(tensors: RankTwo) -> list[Float[Array, "atoms _ channels"]]:
    """Degrees 0, 1 and 2 of tensors of three by three, 2l + 1 components each.

    The antisymmetric part is skew(a) of a polar vector a in TensorNet, and thus degree 1 of natural
    parity.
    """
    matrix = jnp.asarray(deviator_to_harmonics(), tensors.deviator.dtype)
    return [tensors.scalar, tensors.vector, jnp.einsum("mk,nkc->nmc", matrix, tensors.deviator)]
