"""Many-body products: a signal on the sphere raised to a power on one grid."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import mul

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees, Normalization, check_normalization
from tensornet_jax.ops.harmonics.quadrature import (
    Quadrature,
    QuadratureName,
    harmonics_on_grid,
    product_grid,
    sphere_quadrature,
)
from tensornet_jax.ops.linear import transform


@dataclass(frozen=True)
class GauntManyBody:
    """The third class of operations of the Gaunt product (arXiv:2401.10216).

    ν factors of degree L multiply to degree ν L. On a grid exact to the degree ν L + l_out_max of
    the last projection they are multiplied point by point without going back between two
    factors: a power of x costs one transform to the grid and one back, whatever ν.

    Attributes:
        l_max: highest degree of each factor.
        l_out_max: highest degree of the result.
        order: ν, the number of factors, at least 1; the body order is one more.
        normalization: ``integral``: x are the coefficients of f = Σ x_a Y_a with orthonormal Y;
            ``component`` multiplies the result by √(2l+1), ``norm`` each factor. At order 2 that
            is what `GauntGrid` does.
        quadrature: ``lebedev``, the fewest points, or ``gauss_legendre``.
        degree: the degree to which the grid is to be exact; None for the one needed.

    Raises:
        ValueError: a degree is negative, the order below 1, `degree` below order · l_max +
            l_out_max, or a name unknown.
    """

    l_max: int
    l_out_max: int
    order: int
    normalization: Normalization = "integral"
    quadrature: QuadratureName = field(default="lebedev", kw_only=True)
    degree: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_normalization(self.normalization)
        if min(self.l_max, self.l_out_max) < 0 or self.order < 1:
            raise ValueError(f"{self}: degrees of at least 0 and an order of at least 1 are needed")
        sphere_quadrature(self.quadrature, self.degree_needed, self.degree)

    @property
    def degree_needed(self) -> int:
        """The degree of the highest polynomial integrated."""
        return self.order * self.l_max + self.l_out_max

    @property
    def grid(self) -> Quadrature:
        """The points and weights used, of which some weights may be zero."""
        rule = sphere_quadrature(self.quadrature, self.degree_needed, self.degree)
        return product_grid(self.quadrature, rule.degree)

    def __call__(
        self,
        x: Float[ArrayLike, "... components"],
        weights: Float[ArrayLike, "... order degrees"] | None = None,
    ) -> Float[Array, "... out_components"]:
        """Project a power of a signal, or a weighted sum of its powers.

        Without weights z_c = ∫ Y_c f^order. With weights w[ν, l] it is the symmetric contraction
        of a many-body network (arXiv:2206.07697) restricted to Gaunt's coefficients,
        z_lm = Σ_{ν = 1 … order} w[ν, l] ∫ Y_lm f^ν.

        Args:
            x: (..., (l_max + 1)²) features in e3nn's order.
            weights: (..., order, l_out_max + 1), whose leading axes broadcast against those of x,
                say one set an element and channel; None for the highest power alone.

        Returns:
            (..., (l_out_max + 1)²).

        Raises:
            ValueError: the last axes of x or of the weights have the wrong size.
        """
        if weights is None:
            return self._project(self._signal(x) ** self.order)
        of_degree = jnp.asarray(weights)
        expected = (self.order, self.l_out_max + 1)
        if of_degree.shape[-2:] != expected:
            raise ValueError(
                f"the last axes of weights {of_degree.shape} must be {expected}, one weight for "
                f"each power and each degree of the result, for {self}"
            )
        per_component = of_degree[..., Degrees(0, self.l_out_max).of_components]
        return jnp.sum(self.powers(x) * per_component, axis=-2)

    def powers(
        self, x: Float[ArrayLike, "... components"]
    ) -> Float[Array, "... order out_components"]:
        """Project every power of a signal from the first to the one of this order.

        Args:
            x: (..., (l_max + 1)²) features in e3nn's order.

        Returns:
            (..., order, (l_out_max + 1)²).

        Raises:
            ValueError: the last axis of x has the wrong size.
        """
        return self.partial_products([x] * self.order)

    def partial_products(
        self, factors: Sequence[Float[ArrayLike, "... components"]]
    ) -> Float[Array, "... order out_components"]:
        """Project the product of the first factor, of the first two, … of all.

        Args:
            factors: as many as the order, each (..., (l_max + 1)²), leading axes broadcast; the
                same array may stand several times and is brought to the grid once.

        Returns:
            (..., order, (l_out_max + 1)²).

        Raises:
            ValueError: there are not `order` factors, or a last axis has the wrong size.
        """
        self._check_count(factors)
        signals = {id(factor): self._signal(factor) for factor in factors}
        partial = [signals[id(factor)] for factor in factors]
        for step in range(1, self.order):
            partial[step] = partial[step - 1] * partial[step]
        first = self._first_power(jnp.asarray(factors[0]))
        projections = [first, *(self._project(values) for values in partial[1:])]
        return jnp.stack(jnp.broadcast_arrays(*projections), axis=-2)

    def product(
        self, factors: Sequence[Float[ArrayLike, "... components"]]
    ) -> Float[Array, "... out_components"]:
        """Project the product of several signals, z_c = ∫ Y_c f_1 f_2 … f_order.

        Args:
            factors: as many as the order, each (..., (l_max + 1)²), leading axes broadcast.

        Returns:
            (..., (l_out_max + 1)²).

        Raises:
            ValueError: there are not `order` factors, or a last axis has the wrong size.
        """
        self._check_count(factors)
        return self._project(reduce(mul, map(self._signal, factors)))

    def _check_count(self, factors: Sequence[ArrayLike]) -> None:
        if len(factors) != self.order:
            raise ValueError(f"{len(factors)} factors, but {self} multiplies {self.order}")

    def _signal(self, x: ArrayLike) -> Array:
        components, size = jnp.asarray(x), (self.l_max + 1) ** 2
        if components.ndim == 0 or components.shape[-1] != size:
            raise ValueError(f"the last axis of x {components.shape} must be {size} for {self}")
        return transform(
            components, self._harmonics(self.l_max, scaled=self.normalization == "norm").T
        )

    def _first_power(self, x: Array) -> Array:
        """x itself, cut or filled with zeros: its projection needs no grid."""
        degrees = Degrees(0, self.l_out_max)
        kept = x[..., : degrees.size]
        missing = degrees.size - kept.shape[-1]
        kept = jnp.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, missing)])
        # The other two normalizations multiply the one factor, or the result, by √(2l+1).
        power = 0.0 if self.normalization == "integral" else 0.5
        scale = (2 * degrees.of_components + 1) ** power
        return kept * jnp.asarray(scale, jnp.result_type(kept, float))

    def _project(self, values: Array) -> Array:
        harmonics = self._harmonics(self.l_out_max, scaled=self.normalization == "component")
        return transform(values, self.grid.weights[:, None] * harmonics)

    def _harmonics(self, l_max: int, scaled: bool) -> np.ndarray:
        harmonics = harmonics_on_grid(self.quadrature, self.grid.degree, l_max)
        return harmonics * np.sqrt(2 * Degrees(0, l_max).of_components + 1) if scaled else harmonics
