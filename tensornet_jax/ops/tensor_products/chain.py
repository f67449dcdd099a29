"""Many-body products as a chain of two-body ones, for any product of the library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products import PRODUCTS, MatrixProduct, TensorProduct


@dataclass(frozen=True)
class ProductChain:
    """((f_1 f_2) f_3) …, every partial product with the degrees to l_out_max that are asked for.

    The degrees in between go as high as any later factor can bring back to l_out_max, so nothing
    is lost by going back to components each time: for Gaunt products this is the product of ν
    signals on the sphere, which `GauntManyBody` computes without going back.

    With parity ``even`` and factors of natural parity (−1)^l the result has natural parity. The
    chain carries the pseudotensors that odd sums l1 + l2 + l3 make beside the tensors, since two
    odd steps make a tensor again: (a × b) × c is a vector.

    Attributes:
        name: of the product in `PRODUCTS`.
        l_max: highest degree of each factor.
        l_out_max: highest degree of the results.
        order: ν, the number of factors, at least 1.
        parity: ``even`` as above, or ``both``: equivariant under rotation alone.

    Raises:
        ValueError: the name is unknown, a degree negative, or the order below 1.
    """

    name: str
    l_max: int
    l_out_max: int
    order: int
    parity: Literal["even", "both"] = field(default="even", kw_only=True)

    def __post_init__(self) -> None:
        if self.name not in PRODUCTS:
            raise ValueError(f"unknown product {self.name!r}: use one of {', '.join(PRODUCTS)}")
        if min(self.l_max, self.l_out_max) < 0 or self.order < 1:
            raise ValueError(f"{self}: degrees of at least 0 and an order of at least 1 are needed")

    def partial_products(
        self, factors: Sequence[Float[Array, "... components"]]
    ) -> Float[Array, "... order out_components"]:
        """The first factor, the product of the first two, … of all.

        Args:
            factors: as many as the order, each (..., (l_max + 1)²).

        Returns:
            (..., order, (l_out_max + 1)²).

        Raises:
            ValueError: there are not `order` factors, or a last axis has the wrong size.
        """
        if len(factors) != self.order:
            raise ValueError(f"{len(factors)} factors, but {self} multiplies {self.order}")
        size = (self.l_max + 1) ** 2
        for factor in factors:
            if factor.shape[-1] != size:
                raise ValueError(f"the last axis of {factor.shape} must be {size} for {self}")
        tensor, pseudo = factors[0], None
        found = [self._kept(tensor)]
        for factor, step in zip(factors[1:], self._steps, strict=True):
            tensor, pseudo = step(tensor, pseudo, factor)
            found.append(self._kept(tensor))
        return jnp.stack(found, axis=-2)

    def _kept(self, tensor: Array) -> Array:
        """The components to l_out_max, zeros where there are none."""
        size = Degrees(0, self.l_out_max).size
        kept = tensor[..., :size]
        return jnp.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, size - kept.shape[-1])])

    @cached_property
    def _steps(self) -> tuple["_Step", ...]:
        highest = [
            min(done * self.l_max, (self.order - done) * self.l_max + self.l_out_max)
            for done in range(1, self.order + 1)
        ]
        # All steps in the same matrices, or the chain would not be a product of matrices.
        make: Callable[..., TensorProduct] = PRODUCTS[self.name]
        if self.name == "matrix":
            make = partial(MatrixProduct, carrier=-(-max(highest) // 2))
        steps = []
        for before, after in pairwise(highest):
            degrees = before, self.l_max, after
            if self.parity == "both":
                steps.append(_Step(make(*degrees), None))
            else:
                steps.append(_Step(make(*degrees, parity="even"), _odd(make, degrees)))
        return tuple(steps)


def _odd(make: Callable[..., TensorProduct], degrees: tuple[int, int, int]) -> TensorProduct | None:
    try:
        return make(*degrees, parity="odd")
    except ValueError:
        # Gaunt products have no odd sums, and no product has any without a degree above 0.
        return None


@dataclass(frozen=True)
class _Step:
    """One factor more, for tensors and pseudotensors."""

    even: TensorProduct
    odd: TensorProduct | None

    def __call__(
        self, tensor: Array, pseudo: Array | None, factor: Array
    ) -> tuple[Array, Array | None]:
        result = self.even(tensor, factor)
        if self.odd is None:
            return result, None
        other = self.odd(tensor, factor)
        if pseudo is not None:
            result = result + self.odd(pseudo, factor)
            other = other + self.even(pseudo, factor)
        return result, other
