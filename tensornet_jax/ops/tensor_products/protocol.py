"""What every tensor product has: ranges of degrees, a normalization, weights, coefficients."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, is_triangle
from tensornet_jax.ops.harmonics.degrees import Degrees, Normalization, check_normalization

Parity = Literal["both", "even", "odd"]


class Path(NamedTuple):
    """The coupling of one degree of each input to one degree of the output."""

    l1: int
    l2: int
    l3: int


@dataclass(frozen=True)
class TensorProduct(ABC):
    """A bilinear map equivariant under rotation, between features in e3nn's order.

    Without weights a product is the contraction z_c = Σ_ab T_abc x_a y_b with its `coefficients`,
    which on each path (l1, l2, l3) are the Clebsch–Gordan coefficients times
    `path_coefficient(l1, l2, l3)` times what the normalization asks for. The families differ in
    the paths they have, the weights they take and the time they need.

    Parity. With inputs of natural parity (−1)^l a path with l1 + l2 + l3 even gives natural
    parity, and one with an odd sum gives the opposite, a pseudotensor. The sum of both, `both`, is
    equivariant under rotations alone; `even` and `odd` keep one kind, and are equivariant under
    inversion too.

    Attributes:
        l1_max, l2_max, l3_max: highest degrees of the inputs and the output.
        normalization: the coefficients of a path are multiplied by 1 (``integral``), √(2l3+1)
            (``component``: inputs whose components have variance 1 give such an output, where
            they are Clebsch–Gordan's) or √((2l1+1)(2l2+1)) (``norm``: the same for norms).
        parity: which paths to keep: ``both``, ``even`` or ``odd`` l1 + l2 + l3.
        l1_min, l2_min, l3_min: lowest degrees, 0 unless only some of the degrees are there.
    """

    l1_max: int
    l2_max: int
    l3_max: int
    normalization: Normalization = "integral"
    parity: Parity = "both"
    l1_min: int = field(default=0, kw_only=True)
    l2_min: int = field(default=0, kw_only=True)
    l3_min: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_normalization(self.normalization)
        if self.parity not in get_args(Parity):
            names = ", ".join(get_args(Parity))
            raise ValueError(f"unknown parity {self.parity!r}: use one of {names}")
        for name, degrees in zip(("l1", "l2", "l3"), self.degrees, strict=True):
            if not 0 <= degrees.first <= degrees.last:
                raise ValueError(
                    f"{name}_min {degrees.first} and {name}_max {degrees.last} of "
                    f"{type(self).__name__}: 0 ≤ {name}_min ≤ {name}_max is needed"
                )
        if not self.paths:
            raise ValueError(
                f"{self} couples nothing: no path (l1, l2, l3) of this family and parity lies in "
                "these degrees"
            )

    @property
    def degrees(self) -> tuple[Degrees, Degrees, Degrees]:
        """The degrees of x, y and z."""
        return (
            Degrees(self.l1_min, self.l1_max),
            Degrees(self.l2_min, self.l2_max),
            Degrees(self.l3_min, self.l3_max),
        )

    @abstractmethod
    def path_coefficient(self, l1: int, l2: int, l3: int) -> float:
        """The product's coefficients on a path over the Clebsch–Gordan coefficients.

        Before normalization, and whatever `parity` keeps. Zero where the family has no such path.
        """

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The couplings the product has, in the order of l1, l2, l3."""
        first, second, third = self.degrees
        return tuple(
            Path(l1, l2, l3)
            for l1 in first
            for l2 in second
            for l3 in third
            if is_triangle(l1, l2, l3)
            and self.keeps(l1 + l2 + l3)
            and self.path_coefficient(l1, l2, l3) != 0
        )

    def keeps(self, degree_sum: int) -> bool:
        """Whether `parity` keeps paths with this l1 + l2 + l3."""
        return self.parity == "both" or (self.parity == "odd") == bool(degree_sum % 2)

    def normalization_factors(
        self,
    ) -> tuple[
        Float[np.ndarray, " components_x"],
        Float[np.ndarray, " components_y"],
        Float[np.ndarray, " components_z"],
    ]:
        """Factors of the components of x, y and z whose product is the normalization's."""
        first, second, third = self.degrees
        one, two, three = (np.ones(degrees.size) for degrees in self.degrees)
        if self.normalization == "component":
            three = np.sqrt(2 * third.of_components + 1)
        elif self.normalization == "norm":
            one = np.sqrt(2 * first.of_components + 1)
            two = np.sqrt(2 * second.of_components + 1)
        return one, two, three

    def path_factor(self, path: Path) -> float:
        """What multiplies Clebsch–Gordan's coefficients on a path, normalization included."""
        factor = self.path_coefficient(*path)
        if self.normalization == "component":
            factor *= sqrt(2 * path.l3 + 1)
        elif self.normalization == "norm":
            factor *= sqrt((2 * path.l1 + 1) * (2 * path.l2 + 1))
        return factor

    def coefficients(self) -> Float[np.ndarray, "components_x components_y components_z"]:
        """The tensor T of the plain contraction, (size of x, size of y, size of z) float64."""
        first, second, third = self.degrees
        tensor = np.zeros((first.size, second.size, third.size))
        for path in self.paths:
            block = first.slice(path.l1), second.slice(path.l2), third.slice(path.l3)
            tensor[block] = self.path_factor(path) * clebsch_gordan(*path)
        return tensor

    @property
    @abstractmethod
    def num_weights(self) -> int:
        """The size of the last axis of `weights`."""

    @abstractmethod
    def _apply(self, x: Array, y: Array, weights: Array | None) -> Array:
        """The product of arguments whose last axes and types have been checked."""

    def __call__(
        self,
        x: Float[ArrayLike, "... components_x"],
        y: Float[ArrayLike, "... components_y"],
        weights: Float[ArrayLike, "... num_weights"] | None = None,
    ) -> Float[Array, "... components_z"]:
        """Multiply features.

        Args:
            x: (..., (l1_max + 1)² − l1_min²) features in e3nn's order.
            y: (..., (l2_max + 1)² − l2_min²), leading axes broadcast against those of x.
            weights: (..., num_weights), leading axes broadcast too; None for the plain contraction
                with the coefficients.

        Returns:
            (..., (l3_max + 1)² − l3_min²).

        Raises:
            ValueError: a last axis has the wrong size.
        """
        checked = self._checked("x", x, self.degrees[0].size)
        other = self._checked("y", y, self.degrees[1].size)
        if weights is None:
            return self._apply(checked, other, None)
        return self._apply(checked, other, self._checked("weights", weights, self.num_weights))

    def _checked(self, name: str, argument: ArrayLike, size: int) -> Array:
        array = jnp.asarray(argument)
        if array.ndim == 0 or array.shape[-1] != size:
            raise ValueError(f"the last axis of {name} {array.shape} must be {size} for {self}")
        return array


@dataclass(frozen=True)
class DegreeWeightedProduct(TensorProduct):
    """A product whose weights multiply whole degrees of x, of y and of z.

    `weights` (..., num_weights) are those of the degrees of x, then of y, then of z, so a path
    (l1, l2, l3) has the weight w_l1 · w_l2 · w_l3.
    """

    @property
    def num_weights(self) -> int:
        """One weight a degree of x, y and z."""
        return sum(degrees.count for degrees in self.degrees)

    def _apply(self, x: Array, y: Array, weights: Array | None) -> Array:
        if weights is None:
            return self._contract(x, y)
        of_x, of_y, of_z = self._per_component(weights)
        return self._contract(x * of_x, y * of_y) * of_z

    def _per_component(self, weights: Array) -> tuple[Array, Array, Array]:
        first, second, third = self.degrees
        split = (first.count, first.count + second.count)
        parts = jnp.split(weights, split, axis=-1)
        one, two, three = (
            part[..., degrees.of_components - degrees.first]
            for part, degrees in zip(parts, (first, second, third), strict=True)
        )
        return one, two, three

    @abstractmethod
    def _contract(self, x: Array, y: Array) -> Array:
        """The product without weights."""
