"""The polynomials of a symmetric contraction and their derivatives, term by term.

All is found on one walk over the monomials as a tree, in which x_a x_b x_c is a leaf below x_a x_b.
Derivatives that JAX made of a plain sum would hold all coefficients and partial products until they
are used again, more than the registers of a thread; and compiling them takes several times longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from tensornet_jax.ops.kernels.channel_function import ChannelFunction, Components

Monomial = tuple[int, ...]
"""Components that are multiplied, in ascending order."""

Coefficients = tuple[tuple[int, tuple[tuple[int, float], ...]], ...]
"""For some of the polynomials z_m a sum of weights: (m, ((number of the weight, factor), …))."""


class _Node(NamedTuple):
    """A monomial, named by its last component, and those that begin with it."""

    component: int
    coefficients: Coefficients
    children: "tuple[_Node, ...]"


@dataclass(frozen=True)
class SymmetricPolynomials(ChannelFunction):
    """z_m(x) = Σ over monomials of (Σ over weights of factor · weight) · monomial.

    Attributes:
        num_results: how many z_m there are.
        terms: the monomials in lexicographic order, with their coefficients.
    """

    num_results: int
    terms: tuple[tuple[Monomial, Coefficients], ...]

    @cached_property
    def num_factors(self) -> int:
        """How many factors of weights there are."""
        return sum(len(sums) for _, coefficients in self.terms for _, sums in coefficients)

    @cached_property
    def nodes(self) -> tuple[_Node, ...]:
        """The monomials as a tree, from those of one factor."""
        return _tree(self.terms)

    def __call__(self, weights: Components, fields: Sequence[Components]) -> list[Components]:
        """Return z at the one field x."""
        (x,) = fields
        found = [jnp.zeros_like(x[0])] * self.num_results

        def visit(nodes: Sequence[_Node], product: Array | None) -> None:
            for node in nodes:
                own = _times(product, x[node.component])
                for m, sums in node.coefficients:
                    found[m] = found[m] + _sum(sums, weights) * own
                visit(node.children, own)

        visit(self.nodes, None)
        return [found]

    def sizes(self, num_weights: int, sizes: Sequence[int]) -> tuple[int, ...]:
        """One field, of a component for each polynomial."""
        return (self.num_results,)

    def pullback(self, num_fields: int, *, of_weights: bool) -> ChannelFunction:
        """Return a walk."""
        return _OfWeights(self, False) if of_weights else _Gradient(self)


@dataclass(frozen=True)
class _Gradient(ChannelFunction):
    """∂/∂x of Σ_m T_m z_m(x), of the fields x and T."""

    polynomials: SymmetricPolynomials

    def __call__(self, weights: Components, fields: Sequence[Components]) -> list[Components]:
        x, factors = fields
        found = [jnp.zeros_like(x[0])] * len(x)

        def visit(node: _Node, product: Array | None) -> Array:
            """What multiplies the monomial's last component, in all monomials below it."""
            own = _times(product, x[node.component])
            here = jnp.zeros_like(own) if not node.coefficients else None
            for m, sums in node.coefficients:
                here = _plus(here, _sum(sums, weights) * factors[m])
            assert here is not None
            for child in node.children:
                value = visit(child, own)
                here = here + value * x[child.component]
                found[child.component] = found[child.component] + value * own
            return here

        for node in self.polynomials.nodes:
            value = visit(node, None)
            found[node.component] = found[node.component] + value
        return [found]

    def sizes(self, num_weights: int, sizes: Sequence[int]) -> tuple[int, ...]:
        return (sizes[0],)

    def pullback(self, num_fields: int, *, of_weights: bool) -> ChannelFunction:
        return _OfWeights(self.polynomials, True) if of_weights else _Curvature(self.polynomials)


@dataclass(frozen=True)
class _Curvature(ChannelFunction):
    """∂/∂x and ∂/∂T of Σ_a v_a ∂/∂x_a Σ_m T_m z_m(x), of the fields x, T and v."""

    polynomials: SymmetricPolynomials

    def __call__(self, weights: Components, fields: Sequence[Components]) -> list[Components]:
        x, factors, v = fields
        of_x = [jnp.zeros_like(x[0])] * len(x)
        of_factors = [jnp.zeros_like(x[0])] * len(factors)

        def visit(node: _Node, outer: tuple[Array, Array] | None) -> tuple[Array, Array | None]:
            """As for the gradient, and the derivative along v; `outer`: product, and its own."""
            own, along = _extended(outer, x[node.component], v[node.component])
            here = jnp.zeros_like(own) if not node.coefficients else None
            change = None
            for m, sums in node.coefficients:
                coefficient = _sum(sums, weights)
                here = _plus(here, coefficient * factors[m])
                of_factors[m] = of_factors[m] + coefficient * along
            assert here is not None
            for child in node.children:
                number = child.component
                value, slope = visit(child, (own, along))
                here = here + value * x[number]
                change = _plus(change, value * v[number])
                of_x[number] = of_x[number] + value * along
                if slope is not None:
                    change = change + slope * x[number]
                    of_x[number] = of_x[number] + slope * own
            return here, change

        for node in self.polynomials.nodes:
            _, slope = visit(node, None)
            if slope is not None:
                of_x[node.component] = of_x[node.component] + slope
        return [of_x, of_factors]

    def sizes(self, num_weights: int, sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes[:2])


@dataclass(frozen=True)
class _OfWeights(ChannelFunction):
    """∂/∂w of Σ_m T_m z_m(x), of the fields x and T; or of its derivative along v, if `along`."""

    polynomials: SymmetricPolynomials
    along: bool

    def __call__(self, weights: Components, fields: Sequence[Components]) -> list[Components]:
        x, factors = fields[:2]
        found = [jnp.zeros_like(x[0])] * len(weights)

        def add(node: _Node, monomial: Array) -> None:
            for m, sums in node.coefficients:
                value = factors[m] * monomial
                for number, factor in sums:
                    found[number] = found[number] + factor * value

        def visit(nodes: Sequence[_Node], product: Array | None) -> None:
            for node in nodes:
                own = _times(product, x[node.component])
                add(node, own)
                visit(node.children, own)

        def visit_along(nodes: Sequence[_Node], outer: tuple[Array, Array] | None) -> None:
            v = fields[2]
            for node in nodes:
                both = _extended(outer, x[node.component], v[node.component])
                add(node, both[1])
                visit_along(node.children, both)

        if self.along:
            visit_along(self.polynomials.nodes, None)
        else:
            visit(self.polynomials.nodes, None)
        return [found]

    def sizes(self, num_weights: int, sizes: Sequence[int]) -> tuple[int, ...]:
        return (num_weights,)


def _tree(terms: Sequence[tuple[Monomial, Coefficients]]) -> tuple[_Node, ...]:
    nodes = []
    for component, group in groupby(terms, lambda term: term[0][0]):
        rest = [(monomial[1:], coefficients) for monomial, coefficients in group]
        own = rest[0][1] if not rest[0][0] else ()
        nodes.append(_Node(component, own, _tree(rest[bool(own) :])))
    return tuple(nodes)


def _times(product: Array | None, factor: Array) -> Array:
    return factor if product is None else product * factor


def _plus(total: Array | None, added: Array) -> Array:
    return added if total is None else total + added


def _extended(outer: tuple[Array, Array] | None, x: Array, v: Array) -> tuple[Array, Array]:
    """A product with one factor x more, and its derivative where x changes by v."""
    if outer is None:
        return x, v
    product, along = outer
    return product * x, along * x + product * v


def _sum(sums: tuple[tuple[int, float], ...], weights: Components) -> Array:
    (number, factor), *rest = sums
    total = factor * weights[number]
    for number, factor in rest:
        total = total + factor * weights[number]
    return total
