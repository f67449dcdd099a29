"""Equivariant products of spherical tensors, behind one protocol.

`PRODUCTS[name](l1_max, l2_max, l3_max, normalization="integral")` is a function of two arrays of
features in e3nn's order, and of weights if it is given them.
"""

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, gaunt
from tensornet_jax.ops.tensor_products.coupling import ClebschGordan
from tensornet_jax.ops.tensor_products.gaunt_fourier import GauntFourier
from tensornet_jax.ops.tensor_products.gaunt_grid import GauntGrid
from tensornet_jax.ops.tensor_products.matrix import MatrixProduct
from tensornet_jax.ops.tensor_products.protocol import (
    DegreeWeightedProduct,
    Path,
    TensorProduct,
)
from tensornet_jax.ops.tensor_products.vector_signal import VectorSignal

PRODUCTS: dict[str, type[TensorProduct]] = {
    "clebsch_gordan": ClebschGordan,
    "gaunt_fourier": GauntFourier,
    "gaunt_grid": GauntGrid,
    "matrix": MatrixProduct,
    "vector_signal": VectorSignal,
}

__all__ = [
    "PRODUCTS",
    "ClebschGordan",
    "DegreeWeightedProduct",
    "GauntFourier",
    "GauntGrid",
    "MatrixProduct",
    "Path",
    "TensorProduct",
    "VectorSignal",
    "clebsch_gordan",
    "gaunt",
]
