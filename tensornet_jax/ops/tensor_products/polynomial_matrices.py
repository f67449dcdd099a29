"""Symmetric polynomials by matrix products, one for each degree of the first factor.

A monomial x_a x_b x_c … with ascending factors is x_a times a product of others, of the degree of a
or higher ones. These products are made once for all polynomials, in an order in which those that
may follow a degree are the end of one array:

    z_p = Σ_l Σ_{a of degree l} x_a Σ_r T_plar · (product r of others, of degree l or higher)

Where a polynomial respects inversion, the degrees of its factors and of its result sum to an even
number, and products of even and of odd degree stand apart: half of them need not be multiplied. Of
all monomials of three factors of degrees 0 … 3, which are (16)³ in any order and 816 in ascending
order, matrices then have 784 for each polynomial.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations_with_replacement
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.equivariant_polynomials import Contraction

HIGHEST = lax.Precision.HIGHEST


class Factors(NamedTuple):
    """What polynomials are made of, for all atoms.

    Attributes:
        first: by degree, (C, 2l + 1, N), the features.
        others: products of up to order − 1 of them, (C, rows, N), those of even and of odd degree
            apart where inversion is respected.
    """

    first: list[Float[Array, "channels components atoms"]]
    others: list[Float[Array, "channels rows atoms"]]


class _Order(NamedTuple):
    """The order of products: by kind the factors' numbers, and where each degree starts."""

    tuples: tuple[list[tuple[int, ...]], ...]
    starts: tuple[list[int], ...]


@dataclass(frozen=True)
class PolynomialMatrices:
    """Coefficients of polynomials as matrices, and how these are evaluated.

    Attributes:
        l_max: highest degree of the features.
        l_out_max: highest degree of what polynomials make.
        order: the largest number of factors.
        parity: ``even``: all polynomials respect inversion; ``both``: any do.
        contractions: the polynomials, by degree, then by order.
    """

    l_max: int
    l_out_max: int
    order: int
    parity: Literal["even", "both"]
    contractions: tuple[Contraction, ...]

    def num_paths(self, degree: int) -> int:
        """How many polynomials make a degree."""
        return sum(len(b.factors) for b in self.contractions if b.degree == degree)

    def factors(self, x: Float[Array, "channels components atoms"]) -> Factors:
        """Make the products that all polynomials need."""
        parts = [x[:, Degrees(0, self.l_max).slice(degree)] for degree in range(self.l_max + 1)]
        channels, _, num_atoms = x.shape
        one = jnp.ones((channels, 1, num_atoms), x.dtype)
        others: list[Array] = [one, *[one[:, :0]] * (self._kinds - 1)]
        for count in range(1, self.order):
            starts = self._orders[count - 1].starts
            rows: list[list[Array]] = [[] for _ in others]
            for kind, found in enumerate(rows):
                for degree, part in enumerate(parts):
                    rest = self._kind(kind + degree)
                    tail = others[rest][:, starts[rest][degree] :]
                    shape = (channels, part.shape[1] * tail.shape[1], num_atoms)
                    found.append((part[:, :, None] * tail[:, None]).reshape(shape))
            others = [
                jnp.concatenate([*found, one] if kind == 0 else found, axis=1)
                for kind, found in enumerate(rows)
            ]
        return Factors(parts, others)

    def tables(self, degree: int, dtype: np.dtype) -> list[Float[Array, "paths orders first rows"]]:
        """Return for each degree of the first factor the coefficients of what makes a degree."""
        return [jnp.asarray(table, dtype) for table in self._tables[degree]]

    def evaluate(
        self,
        degree: int,
        matrices: Sequence[Float[Array, "_ polynomials first rows"]],
        factors: Factors,
    ) -> Float[Array, "channels polynomials atoms"]:
        """Evaluate polynomials.

        All monomials at once would be one matrix product, but nearly all the time would go into
        writing them down.

        Args:
            degree: what they make.
            matrices: for each degree of the first factor, one for each channel or for all.
            factors: as `factors` returns them.
        """
        starts, total = self._orders[-1].starts, 0.0
        for first, (matrix, part) in enumerate(zip(matrices, factors.first, strict=True)):
            kind = self._kind(degree + first)
            others = factors.others[kind][:, starts[kind][first] :]
            polynomials, components = matrix.shape[1:3]
            matrix = matrix.reshape(len(matrix), polynomials * components, matrix.shape[3])
            inner = jnp.matmul(matrix, others, precision=HIGHEST)
            shape = (len(part), polynomials, *part.shape[1:])
            total += jnp.sum(inner.reshape(shape) * part[:, None], axis=2)
        assert isinstance(total, Array)
        return total

    @property
    def _kinds(self) -> int:
        return 2 if self.parity == "even" else 1

    def _kind(self, degree: int) -> int:
        return degree % self._kinds

    @cached_property
    def _orders(self) -> list[_Order]:
        return [_ordered(self.l_max, count, self._kinds) for count in range(self.order)]

    @cached_property
    def _tables(self) -> list[list[np.ndarray]]:
        number: list[dict[tuple[int, ...], int]] = [
            {each: row for row, each in enumerate(tuples)} for tuples in self._orders[-1].tuples
        ]
        starts = self._orders[-1].starts
        degrees = Degrees(0, self.l_max)
        found = []
        for degree in range(self.l_out_max + 1):
            shape, tables = (self.num_paths(degree), 2 * degree + 1), []
            for first in degrees:
                kind = self._kind(degree + first)
                rows = len(number[kind]) - starts[kind][first]
                tables.append(np.zeros((*shape, 2 * first + 1, rows)))
            path = 0
            for block in (each for each in self.contractions if each.degree == degree):
                paths = slice(path, path + len(block.factors))
                for monomial, values in zip(
                    combinations_with_replacement(range(degrees.size), block.order),
                    block.polynomials,
                    strict=True,
                ):
                    if not values.any():
                        continue
                    first = int(degrees.of_components[monomial[0]])
                    kind = self._kind(degree + first)
                    row = number[kind][monomial[1:]] - starts[kind][first]
                    place = monomial[0] - degrees.slice(first).start
                    tables[first][paths, :, place, row] = values.T
                path = paths.stop
            found.append(tables)
        return found


@cache
def _ordered(l_max: int, count: int, kinds: int) -> _Order:
    """The order of products of up to `count` factors, as `PolynomialMatrices.factors` makes them.

    What has a factor of a lower degree stands before what has none, and the product of none last.
    """
    if count == 0:
        no_factors = ([()], *[[]] * (kinds - 1))
        return _Order(no_factors, tuple([0] * (l_max + 1) for _ in range(kinds)))
    before, degrees = _ordered(l_max, count - 1, kinds), Degrees(0, l_max)
    tuples: list[list[tuple[int, ...]]] = [[] for _ in range(kinds)]
    starts: list[list[int]] = [[] for _ in range(kinds)]
    for kind in range(kinds):
        for degree in degrees:
            starts[kind].append(len(tuples[kind]))
            rest = (kind + degree) % kinds
            own = range(degrees.size)[degrees.slice(degree)]
            tail = before.tuples[rest][before.starts[rest][degree] :]
            tuples[kind] += [(component, *others) for component in own for others in tail]
        if kind == 0:
            tuples[kind].append(())
    return _Order(tuple(tuples), tuple(starts))
