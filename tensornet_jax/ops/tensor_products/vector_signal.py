"""The cheapest product with every path: scalar signals for even sums, tangential for odd ones."""

from dataclasses import dataclass
from functools import cache
from math import pi, sqrt

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import wigner_3j
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.quadrature import QuadratureName, product_grid
from tensornet_jax.ops.linear import transform
from tensornet_jax.ops.tensor_products.gaunt_grid import GridProduct
from tensornet_jax.ops.tensor_products.vector_spherical_harmonics import (
    vector_spherical_harmonics,
)


@dataclass(frozen=True)
class VectorSignal(GridProduct):
    """Pointwise products of scalar and of tangential vector signals (arXiv:2506.13523).

    x is read as the function f = Σ x_a Y_a, as Gaunt does, and as the tangential field
    F = Σ x_a Φ_a with the orthonormal vector spherical harmonics Φ_lm = V_{(l) l m}, which are
    ∇Y_lm × r/√(l(l+1)); y likewise as g and G. Then

        z_c = ∫ Y_c (f g + r̂·(F × G)),

    where the product of functions has the paths with l1 + l2 + l3 even and the cross product, a
    pseudoscalar, those with an odd sum: 1 × 1 → 1 is the cross product of two vectors. The
    gradients r∇Y/√(l(l+1)) in place of Φ, both turned by 90° about r̂, give the same. Coefficients
    over Clebsch–Gordan's are √((2l1+1)(2l2+1)(2l3+1)/4π) |(l1 l2 l3; s −s 0)| with s = 0 for even
    and 1 for odd sums. Degree 0 has no tangential field, and no odd path either.

    The first integrand is a polynomial of degree l1 + l2 + l3 on the sphere. The second is
    r · (∇P_a × ∇P_b) P_c with solid harmonics P, of degree l1 + l2 + l3 − 1. So l1_max + l2_max +
    l3_max is the degree needed, one less where only odd sums are there.

    Weights are one set for each kind of path (even sums, then odd sums) that is there, each set
    as in `DegreeWeightedProduct`.

    Raises:
        ValueError: `degree` is below the one needed, the quadrature is unknown, or what
            `TensorProduct` refuses.
    """

    @property
    def degree_needed(self) -> int:
        """The degree of the highest polynomial integrated."""
        return super().degree_needed - (self._kinds == (1,))

    @property
    def num_weights(self) -> int:
        """One weight a degree of x, y and z, for even and for odd sums."""
        return len(self._kinds) * super().num_weights

    def path_coefficient(self, l1: int, l2: int, l3: int) -> float:
        """√((2l1+1)(2l2+1)(2l3+1)/4π) |(l1 l2 l3; s −s 0)|, s = 0 for even and 1 for odd sums."""
        s = (l1 + l2 + l3) % 2
        dimensions = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
        return sqrt(dimensions / (4 * pi)) * abs(wigner_3j(l1, l2, l3, s, -s, 0))

    @property
    def _kinds(self) -> tuple[int, ...]:
        """The values of l1 + l2 + l3 modulo 2 among the paths."""
        return tuple(sorted({sum(path) % 2 for path in self.paths}))

    def _contract(self, x: Array, y: Array) -> Array:
        return transform(self._integrand(self._kinds, x, y), self.projection_table())

    def _apply(self, x: Array, y: Array, weights: Array | None) -> Array:
        if weights is None:
            return self._contract(x, y)
        parts = []
        for kind, own in zip(
            self._kinds, jnp.split(weights, len(self._kinds), axis=-1), strict=True
        ):
            of_x, of_y, of_z = self._per_component(own)
            integrand = self._integrand((kind,), x * of_x, y * of_y)
            parts.append(transform(integrand, self.projection_table()) * of_z)
        return sum(parts[1:], parts[0])

    def _integrand(self, kinds: tuple[int, ...], x: Array, y: Array) -> Array:
        """On the grid, f g (kind 0), r̂·(F × G) (kind 1) or their sum."""
        to_x, to_y = self._tables(kinds)
        # One matrix product for all three functions of an argument.
        num_functions = sum(1 + kind for kind in kinds)
        f = jnp.split(transform(x, to_x), num_functions, axis=-1)
        g = jnp.split(transform(y, to_y), num_functions, axis=-1)
        if kinds == (0,):
            return f[0] * g[0]
        cross = f[-2] * g[-1] - f[-1] * g[-2]
        return cross if kinds == (1,) else f[0] * g[0] + cross

    def _tables(self, kinds: tuple[int, ...]) -> list[np.ndarray]:
        """Matrices from components of x and of y to the functions of these kinds on the grid."""
        grid = self.quadrature, self.grid.degree
        tables = []
        for degrees, factors, scalar in zip(
            self.degrees, self.normalization_factors(), self.signal_tables(), strict=False
        ):
            tangential = factors[:, None] * tangential_on_grid(*grid, degrees).T
            tables.append(np.concatenate([(scalar, tangential)[kind] for kind in kinds], axis=1))
        return tables


@cache
def tangential_on_grid(
    name: QuadratureName, degree: int, degrees: Degrees
) -> Float[np.ndarray, "2*points components"]:
    """Φ_lm of `VectorSignal` along two tangents e1, e2 at the points of `product_grid`.

    The tangents with r̂ are right-handed, e1 × e2 = r̂; the pair is chosen at each point for
    itself, and no scalar made of the fields depends on the choice.

    Returns:
        (2 G, size): the components along e1 at all points, then those along e2; read-only.
    """
    points = product_grid(name, degree).points
    # The axis least along r̂ keeps the cross product away from zero, at the poles too.
    axes = np.eye(3)[np.argmin(np.abs(points), axis=1)]
    first = np.cross(axes, points)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    tangents = np.stack([first, np.cross(points, first)])
    fields = np.concatenate(
        [
            vector_spherical_harmonics(points, l, l) if l else np.zeros((len(points), 1, 3))
            for l in degrees  # noqa: E741
        ],
        axis=1,
    )
    values = np.einsum("tgi,gmi->tgm", tangents, fields).reshape(-1, degrees.size)
    values.setflags(write=False)
    return values
