"""What follows from a tensor of elastic constants: moduli, directions, stability."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tensornet_jax.tensors.voigt import to_mandel


class HillModuli(NamedTuple):
    """Bulk and shear modulus, the means of Voigt's and Reuss' bounds, (...) in the tensor's unit.

    NaN where the tensor cannot be inverted.
    """

    bulk: Float[np.ndarray, "*batch"]
    shear: Float[np.ndarray, "*batch"]


def hill_moduli(stiffness: Float[np.ndarray, "*batch 3 3 3 3"]) -> HillModuli:
    """Bulk and shear modulus of a polycrystal (Hill, Proc. Phys. Soc. A 65, 349 (1952)).

    With C and S = C⁻¹ in Mandel form, and a, b the sums of the 3×3 block and of the trace:
    K_V = Σ_ij C_ij / 9 and 1/K_R = Σ_ij S_ij; the isotropic tensor 3K J + 2G K, J and K the
    projectors on isotropic and deviatoric strains, has Tr C = 3K + 10G.

    Args:
        stiffness: (..., 3, 3, 3, 3).
    """
    mandel = to_mandel(np.asarray(stiffness, np.float64), 2)
    bulk_voigt, shear_voigt = _isotropic(mandel)
    singular = np.linalg.matrix_rank(mandel) < 6
    safe = np.where(singular[..., None, None], np.eye(6), mandel)
    bulk_compliance, shear_compliance = _isotropic(np.linalg.inv(safe))
    # Of a compliance the isotropic parts are 1/(3K) and 1/(2G).
    with np.errstate(divide="ignore"):
        bulk_reuss, shear_reuss = 1 / (9 * bulk_compliance), 1 / (4 * shear_compliance)
    bulk, shear = 0.5 * (bulk_voigt + bulk_reuss), 0.5 * (shear_voigt + shear_reuss)
    return HillModuli(np.where(singular, np.nan, bulk), np.where(singular, np.nan, shear))


def _isotropic(mandel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K and G of the isotropic tensor 3K J + 2G K nearest to a matrix (..., 6, 6)."""
    bulk = mandel[..., :3, :3].sum(axis=(-2, -1)) / 9
    trace = np.trace(mandel, axis1=-2, axis2=-1)
    return bulk, (trace - 3 * bulk) / 10


def directional_stiffness(
    stiffness: Float[np.ndarray, "*batch 3 3 3 3"], directions: Float[np.ndarray, "directions 3"]
) -> Float[np.ndarray, "*batch directions"]:
    """C(n) = C_ijkl n_i n_j n_k n_l, the stiffness against uniaxial strain along n.

    Args:
        stiffness: (..., 3, 3, 3, 3).
        directions: (D, 3) unit vectors.

    Returns:
        (..., D) in the tensor's unit.
    """
    n = np.asarray(directions, np.float64)
    return np.einsum("...ijkl,di,dj,dk,dl->...d", stiffness, n, n, n, n, optimize=True)


def smallest_eigenvalues(tensors: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Smallest eigenvalue of symmetric rank-2 tensors (..., 3, 3) or stiffnesses (..., 3, 3, 3, 3).

    Of a stiffness in Mandel form: a crystal is stable where it is positive (Born, 1940).
    """
    tensors = np.asarray(tensors, np.float64)
    fourfold = tensors.ndim >= 4 and tensors.shape[-4:] == (3, 3, 3, 3)
    matrices = to_mandel(tensors, 2) if fourfold else tensors
    return np.linalg.eigvalsh(matrices)[..., 0]


def is_positive_definite(tensors: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Whether `smallest_eigenvalues` are positive, (...) bool."""
    return smallest_eigenvalues(tensors) > 0
