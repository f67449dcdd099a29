"""Errors of what heads predict: whole, by irreducible part, and in what is derived from them."""

import numpy as np

from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.tensors.elasticity import (
    directional_stiffness,
    hill_moduli,
    is_positive_definite,
)

ELASTICITY = "ijkl=jikl=klij"
INDEFINITE = "indefinite"

# Along edges, face diagonals and space diagonals of a cube, one of each opposite pair.
_DIRECTIONS = np.array([v for v in np.ndindex(3, 3, 3) if v > (1, 1, 1)]) - np.ones(3)
_DIRECTIONS /= np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True)


def tensor_errors(
    head: TensorHead, predicted: np.ndarray, label: np.ndarray
) -> dict[str, np.ndarray]:
    """Return prediction − label by name of what is compared, NaN where unlabelled.

    Under the head's name stand all Cartesian components, of a scalar the one there is; under "NAME
    degree l" the components of degree l in an orthonormal basis, if there are several degrees; for
    rank 2 with a trace under "NAME isotropic" a third of the trace; for elasticity bulk and shear
    modulus of a polycrystal (Voigt–Reuss–Hill) and C(n) = C_ijkl n_i n_j n_k n_l along thirteen
    directions; and for symmetric tensors under "NAME indefinite" 1 for each prediction that is not
    positive definite, if its label is.

    Args:
        head: the head.
        predicted: (3, …) or (N, 3, …).
        label: the same shape.
    """
    name, space = head.name, head.space
    if head.per == "structure":
        predicted, label = predicted[None], label[None]
    errors = {name: predicted - label}
    parts = space.to_irreps(predicted - label)
    if len(space.blocks) > 1:
        for block in space.blocks:
            errors[f"{name} degree {block.degree}"] = parts[:, block.slice]
    if space.rank == 2 and any(block.degree == 0 for block in space.blocks):
        errors[f"{name} isotropic"] = np.trace(predicted - label, axis1=1, axis2=2) / 3
    if head.symmetry not in (ELASTICITY, "ij=ji") or head.traceless:
        return errors
    stable = _is_stable(label)
    found = _is_stable(predicted)
    errors[f"{name} {INDEFINITE}"] = np.where(stable, ~found, np.nan)
    if head.symmetry == ELASTICITY:
        # Moduli of a stiffness that is not positive definite have no meaning.
        both = stable & found
        moduli = np.full((2, len(label)), np.nan)
        moduli[:, both] = np.subtract(hill_moduli(predicted[both]), hill_moduli(label[both]))
        errors[f"{name} bulk modulus"], errors[f"{name} shear modulus"] = moduli
        along = directional_stiffness(predicted - label, _DIRECTIONS)
        errors[f"{name} directional stiffness"] = along
    return errors


def _is_stable(tensors: np.ndarray) -> np.ndarray:
    """Whether tensors are positive definite; those that are not finite are not."""
    finite = np.isfinite(tensors.reshape(len(tensors), -1)).all(axis=1)
    stable = np.zeros(len(tensors), bool)
    stable[finite] = is_positive_definite(tensors[finite])
    return stable
