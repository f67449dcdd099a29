"""The Gaunt product on a grid of the sphere: two signals multiplied point by point."""

from dataclasses import dataclass, field

import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import gaunt_ratio
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.quadrature import (
    Quadrature,
    QuadratureName,
    harmonics_on_grid,
    product_grid,
    sphere_quadrature,
)
from tensornet_jax.ops.linear import transform
from tensornet_jax.ops.tensor_products.protocol import DegreeWeightedProduct


@dataclass(frozen=True)
class GridProduct(DegreeWeightedProduct):
    """A product of signals on a grid that integrates it exactly.

    Attributes:
        quadrature: ``lebedev``, the fewest points, or ``gauss_legendre``.
        degree: the degree to which the grid is to be exact; None for the one needed.
    """

    quadrature: QuadratureName = field(default="lebedev", kw_only=True)
    degree: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        sphere_quadrature(self.quadrature, self.degree_needed, self.degree)

    @property
    def degree_needed(self) -> int:
        """The degree of the highest polynomial integrated."""
        return self.l1_max + self.l2_max + self.l3_max

    @property
    def grid(self) -> Quadrature:
        """The points and weights used, of which some weights may be zero."""
        rule = sphere_quadrature(self.quadrature, self.degree_needed, self.degree)
        return product_grid(self.quadrature, rule.degree)

    def harmonics(self, degrees: Degrees) -> Float[np.ndarray, "points components"]:
        """Orthonormal harmonics of these degrees on the grid, (G, size) float64."""
        values = harmonics_on_grid(self.quadrature, self.grid.degree, degrees.last)
        return values[:, degrees.first**2 :]

    def signal_tables(
        self,
    ) -> tuple[
        Float[np.ndarray, "components_x functions"], Float[np.ndarray, "components_y functions"]
    ]:
        """Matrices from the components of x and of y to the values of their signals."""
        first, second, _ = self.degrees
        of_x, of_y, _ = self.normalization_factors()
        return of_x[:, None] * self.harmonics(first).T, of_y[:, None] * self.harmonics(second).T

    def projection_table(self) -> Float[np.ndarray, "points components_z"]:
        """The matrix from values on the grid to components of z, (G, size of z)."""
        _, _, of_z = self.normalization_factors()
        return self.grid.weights[:, None] * self.harmonics(self.degrees[2]) * of_z


@dataclass(frozen=True)
class GauntGrid(GridProduct):
    """The Gaunt product z_c = Σ_ab x_a y_b ∫ Y_a Y_b Y_c by quadrature (arXiv:2401.10216).

    x and y are the coefficients of two functions on the sphere, z those of their product. Only
    paths with l1 + l2 + l3 even exist, so the parities ``both`` and ``even`` are the same. Three
    matrix products with constant matrices, O(L⁴): a grid exact to degree l1_max + l2_max + l3_max
    has O(L²) points. Splitting each transform into one over β and one over α needs O(L³), and
    splitting signals into even and odd degrees half the points; on CPU both were slower than
    dense matrices at every L to 8.

    Raises:
        ValueError: `degree` is below l1_max + l2_max + l3_max, the quadrature is unknown, or what
            `TensorProduct` refuses.
    """

    def path_coefficient(self, l1: int, l2: int, l3: int) -> float:
        """√((2l1+1)(2l2+1)(2l3+1)/4π) |(l1 l2 l3; 0 0 0)|."""
        return gaunt_ratio(l1, l2, l3)

    def _contract(self, x: Array, y: Array) -> Array:
        to_x, to_y = self.signal_tables()
        return transform(transform(x, to_x) * transform(y, to_y), self.projection_table())
