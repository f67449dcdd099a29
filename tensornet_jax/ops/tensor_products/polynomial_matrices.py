"""Symmetric polynomials by matrix products, with the factors of even and of odd degree apart.

A monomial of up to ν factors is one factor times a product of ν − 1 others, where 1 counts as a
factor of even degree. The products of the others are made once for all polynomials:

    z_p = Σ_a x_a Σ_r T_par · (product r of the others)

Where a polynomial respects inversion, the degrees of its factors and of its result sum to an even
number. An even result then has an even number of odd factors, and, unless all are odd, an even
factor that can stand first; an odd result has an odd factor to stand first, and an even number of
others. So of products of others those with an even number of odd factors are enough: of three
factors of degrees 0 … 3, 16³ in any order, matrices have 7 · 149 or 10 · 149 for each polynomial.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.equivariant_polynomials import Contraction

HIGHEST = lax.Precision.HIGHEST

ONE = -1
"""Number of the factor 1, beside those of the components."""


class Factors(NamedTuple):
    """What polynomials are made of, for all atoms.

    Attributes:
        first: 1 with the components of even degree, and those of odd degree, (C, count, N).
        others: products of order − 1 of them by the number of odd factors, (C, rows, N).
    """

    first: tuple[Float[Array, "channels count atoms"], Float[Array, "channels count atoms"]]
    others: dict[int, Float[Array, "channels rows atoms"]]


@dataclass(frozen=True)
class PolynomialMatrices:
    """Coefficients of polynomials as matrices, and how these are evaluated.

    Attributes:
        l_max: highest degree of the features.
        l_out_max: highest degree of what polynomials make.
        order: the largest number of factors.
        parity: ``even``: all polynomials respect inversion; ``both``: any do, and all degrees count
            as even.
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
        parts: tuple[list[Array], list[Array]] = ([jnp.ones_like(x[:, :1])], [x[:, :0]])
        for degree in range(self.l_max + 1):
            parts[self._kind(degree)].append(x[:, Degrees(0, self.l_max).slice(degree)])
        first = jnp.concatenate(parts[0], axis=1), jnp.concatenate(parts[1], axis=1)
        return Factors(first, {odd: self._products(first, odd) for odd in self._numbers_of_odd})

    def tables(
        self, degree: int, dtype: np.dtype
    ) -> dict[tuple[int, int], Float[Array, "paths orders first rows"]]:
        """Return the coefficients of what makes a degree, by kind of the first and odd others."""
        return {key: jnp.asarray(table, dtype) for key, table in self._tables[degree].items()}

    def evaluate(
        self,
        matrices: dict[tuple[int, int], Float[Array, "_ polynomials first rows"]],
        factors: Factors,
    ) -> Float[Array, "channels polynomials atoms"]:
        """Evaluate polynomials of one degree.

        All monomials at once would be one matrix product, but nearly all the time would go into
        writing them down.

        Args:
            matrices: as `tables` returns them, one for each channel or for all in place of paths.
            factors: as `factors` returns them.
        """
        found = []
        for kind, first in enumerate(factors.first):
            inner: list[Array] = []
            for (of_first, odd), matrix in matrices.items():
                if of_first == kind:
                    shape = (matrix.shape[0], matrix.shape[1] * matrix.shape[2], matrix.shape[3])
                    others = factors.others[odd]
                    inner.append(jnp.matmul(matrix.reshape(shape), others, precision=HIGHEST))
            if inner:
                values = sum(inner[1:], inner[0])
                count, num_atoms = first.shape[1:]
                shape = (values.shape[0], values.shape[1] // count, count, num_atoms)
                found.append(jnp.sum(values.reshape(shape) * first[:, None], axis=2))
        return sum(found[1:], found[0])

    def _kind(self, degree: int) -> int:
        """1 for odd degrees where that counts, else 0."""
        return degree % 2 if self.parity == "even" else 0

    @cached_property
    def _components(self) -> tuple[list[int], list[int]]:
        """Numbers of what can be a factor, even and odd."""
        kinds = [self._kind(degree) for degree in Degrees(0, self.l_max).of_components.tolist()]
        even, odd = ([i for i, each in enumerate(kinds) if each == kind] for kind in (0, 1))
        return [ONE, *even], odd

    @property
    def _numbers_of_odd(self) -> list[int]:
        """How many of the others may be odd."""
        if not self._components[1]:
            return [0]
        most = self.order - 1
        return [odd for odd in range(self.order) if odd % 2 == 0 or odd == most]

    def _keys(self, degree: int) -> list[tuple[int, int]]:
        """Kinds of the first factor and numbers of odd others that make a degree."""
        kind = self._kind(degree)
        if not self._components[kind]:
            return [(0, 0)]
        return [
            ((kind + odd) % 2, odd)
            for odd in self._numbers_of_odd
            # Of an even number of factors all odd ones make an even result.
            if odd % 2 == 0 or kind == 0
        ]

    def _products(self, first: tuple[Array, Array], odd: int) -> Array:
        """Products of order − 1 factors, so many of them odd, in the order of `_rows`."""
        found = jnp.ones_like(first[0][:, :1])
        for part in [first[0]] * (self.order - 1 - odd) + [first[1]] * odd:
            shape = (part.shape[0], found.shape[1] * part.shape[1], part.shape[2])
            found = (found[:, :, None] * part[:, None]).reshape(shape)
        return found

    def _rows(self, odd: int) -> list[tuple[int, ...]]:
        even, odds = self._components
        return list(product(*[even] * (self.order - 1 - odd), *[odds] * odd))

    @cached_property
    def _tables(self) -> list[dict[tuple[int, int], np.ndarray]]:
        rows = {
            odd: {row: number for number, row in enumerate(self._rows(odd))}
            for odd in self._numbers_of_odd
        }
        found = []
        for degree in range(self.l_out_max + 1):
            shape = (self.num_paths(degree), 2 * degree + 1)
            tables = {
                (kind, odd): np.zeros((*shape, len(self._components[kind]), len(rows[odd])))
                for kind, odd in self._keys(degree)
            }
            path = 0
            for block in (each for each in self.contractions if each.degree == degree):
                paths = slice(path, path + len(block.factors))
                monomials = combinations_with_replacement(range((self.l_max + 1) ** 2), block.order)
                for monomial, values in zip(monomials, block.polynomials, strict=True):
                    if values.any():
                        key, place, row = self._place(monomial, self._kind(degree))
                        tables[key][paths, :, place, rows[key[1]][row]] = values.T
                path = paths.stop
            found.append(tables)
        return found

    def _place(
        self, monomial: Sequence[int], kind: int
    ) -> tuple[tuple[int, int], int, tuple[int, ...]]:
        """Where the coefficient of a monomial stands that makes a result of a kind."""
        even, odd = self._components
        evens = [ONE] * (self.order - len(monomial)) + [i for i in monomial if i in even]
        odds = [i for i in monomial if i in odd]
        of_first = 1 if kind == 1 or not evens else 0
        chosen = (evens, odds)[of_first]
        first = chosen.pop()
        return (of_first, len(odds)), self._components[of_first].index(first), (*evens, *odds)
