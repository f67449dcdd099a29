"""Voigt and Mandel form: pairs of symmetric indices as one index from 1 to 6.

Pairs stand in the order xx, yy, zz, yz, xz, xy. Mandel's form has √2 for each mixed pair and is
orthonormal: the norm of a tensor is that of its matrix, and a rotation acts by an orthogonal
matrix. Voigt's has no factors for stress, stiffness and piezoelectric stress constants; strains
have 2 for each mixed pair.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from tensornet_jax.ops.any_array import AnyArray

PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_FIRST, _SECOND = np.array(PAIRS).T
_INDEX = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
_WEIGHTS = {
    "stress": np.ones(6),
    "strain": np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]),
    "mandel": np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]),
}

Kind = Literal["stress", "strain"]


def to_voigt(
    tensors: Float[AnyArray, "*full"], pairs: int = 1, kind: Kind = "stress"
) -> Float[AnyArray, "*packed"]:
    """Voigt form of the last `pairs` pairs of indices.

    Args:
        tensors: (..., 3, 3) with one pair, symmetric in it; (..., 3, 3, 3, 3) with two. Indices
            before them stay: piezoelectric constants e_ijk become (3, 6). numpy or jax arrays.
        pairs: 1 or 2.
        kind: "stress" (also stiffness) without factors, "strain" with 2 for mixed pairs (with two
            pairs the compliance, which has 4 where both are mixed).

    Returns:
        (..., 6) or (..., 6, 6).
    """
    return _packed(tensors, pairs, _WEIGHTS[kind])


def from_voigt(
    matrices: Float[AnyArray, "*packed"], pairs: int = 1, kind: Kind = "stress"
) -> Float[AnyArray, "*full"]:
    """Full tensors of a Voigt form, (..., 6) → (..., 3, 3) or (..., 6, 6) → (..., 3, 3, 3, 3)."""
    return _unpacked(matrices, pairs, _WEIGHTS[kind])


def to_mandel(tensors: Float[AnyArray, "*full"], pairs: int = 1) -> Float[AnyArray, "*packed"]:
    """Mandel form of the last `pairs` pairs of indices, (..., 6) or (..., 6, 6)."""
    return _packed(tensors, pairs, _WEIGHTS["mandel"])


def from_mandel(matrices: Float[AnyArray, "*packed"], pairs: int = 1) -> Float[AnyArray, "*full"]:
    """Full tensors of a Mandel form."""
    return _unpacked(matrices, pairs, _WEIGHTS["mandel"])


def _packed(tensors: AnyArray, pairs: int, weights: np.ndarray) -> AnyArray:
    _check(pairs)
    weights = weights.astype(tensors.dtype)
    if pairs == 1:
        return tensors[..., _FIRST, _SECOND] * weights
    rows, columns = _FIRST[:, None], _SECOND[:, None]
    return tensors[..., rows, columns, _FIRST, _SECOND] * (weights[:, None] * weights)


def _unpacked(matrices: AnyArray, pairs: int, weights: np.ndarray) -> AnyArray:
    _check(pairs)
    weights = weights.astype(matrices.dtype)
    if pairs == 1:
        return (matrices / weights)[..., _INDEX]
    whole = matrices / (weights[:, None] * weights)
    return whole[..., _INDEX[:, :, None, None], _INDEX]


def _check(pairs: int) -> None:
    if pairs not in (1, 2):
        raise ValueError(f"{pairs} pairs of indices: one or two")
