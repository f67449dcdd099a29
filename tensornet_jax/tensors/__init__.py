"""Cartesian tensors of any rank: index symmetries, irreducible parts, Voigt and Mandel form."""

from tensornet_jax.tensors.elasticity import (
    HillModuli,
    directional_stiffness,
    hill_moduli,
    is_positive_definite,
    smallest_eigenvalues,
)
from tensornet_jax.tensors.symmetry import Block, TensorSymmetry, tensor_symmetry
from tensornet_jax.tensors.voigt import from_mandel, from_voigt, to_mandel, to_voigt

__all__ = [
    "Block",
    "HillModuli",
    "TensorSymmetry",
    "directional_stiffness",
    "from_mandel",
    "from_voigt",
    "hill_moduli",
    "is_positive_definite",
    "smallest_eigenvalues",
    "tensor_symmetry",
    "to_mandel",
    "to_voigt",
]
