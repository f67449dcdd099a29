"""The symmetric equivariant polynomials of one feature: what MACE's contraction is made of."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.harmonics.degrees import Degrees

# Below it, the rest of a vector that the others span already is rounding.
_INDEPENDENT = 1e-6


class Contraction(NamedTuple):
    """One block of weights: the polynomials of one order that make one degree.

    Attributes:
        order: ν, the number of factors.
        degree: l of the result.
        polynomials: (monomials of this order, 2l + 1, paths) coefficients, float64; the monomials
            in lexicographic order.
        factors: for each path the degrees of its factors, in ascending order.
    """

    order: int
    degree: int
    polynomials: Float[np.ndarray, "monomials orders paths"]
    factors: tuple[tuple[int, ...], ...]


@cache
def equivariant_polynomials(
    l_max: int, degree: int, order: int, parity: str
) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """Return an orthonormal basis of symmetric maps to one degree, and their factors' degrees.

    Orthonormal as symmetric tensors, of norm √(2l + 1). Gram–Schmidt in a fixed order, and not a
    singular value decomposition, whose vectors for equal values differ from machine to machine:
    weights on file must mean the same everywhere.
    """
    components = Degrees(0, l_max)
    monomials = list(combinations_with_replacement(range(components.size), order))
    number = {monomial: i for i, monomial in enumerate(monomials)}
    # A symmetric tensor has an entry for each order of the factors, and the coefficient of the
    # monomial is their sum.
    multiplicity = np.array([_permutations(monomial) for monomial in monomials])[:, None]
    basis: list[np.ndarray] = []
    factors: list[tuple[int, ...]] = []
    for degrees in combinations_with_replacement(components, order):
        if parity == "even" and (sum(degrees) + degree) % 2:
            continue
        own: list[np.ndarray] = []
        slices = [range(components.size)[components.slice(d)] for d in degrees]
        grid = np.stack(np.meshgrid(*slices, indexing="ij"), axis=-1).reshape(-1, order)
        rows = [number[tuple(sorted(indices))] for indices in grid.tolist()]
        for coupling in _couplings(degrees, degree):
            vector = np.zeros((len(monomials), 2 * degree + 1))
            np.add.at(vector, rows, coupling.reshape(-1, 2 * degree + 1))
            length = np.sqrt(np.sum(vector**2 / multiplicity))
            if length < _INDEPENDENT:
                continue
            vector /= length
            for _ in range(2):  # the second time for what rounding left
                for other in own:
                    vector -= np.sum(vector * other / multiplicity) * other
            length = np.sqrt(np.sum(vector**2 / multiplicity))
            if length > _INDEPENDENT:
                own.append(vector / length)
        basis += own
        factors += [degrees] * len(own)
    shape = (len(basis), len(monomials), 2 * degree + 1)
    table = np.sqrt(2 * degree + 1) * np.reshape(basis, shape)
    return np.moveaxis(table, 0, -1), tuple(factors)


def _permutations(monomial: tuple[int, ...]) -> int:
    repeated = prod(factorial(monomial.count(index)) for index in set(monomial))
    return factorial(len(monomial)) // repeated


def _couplings(degrees: tuple[int, ...], degree: int) -> Iterator[np.ndarray]:
    """All ways of coupling the degrees one after the other to one, (2l1 + 1, …, 2l + 1)."""
    start = np.eye(2 * degrees[0] + 1)
    yield from _couple(start, degrees[0], degrees[1:], degree)


def _couple(
    tensor: np.ndarray, reached: int, rest: tuple[int, ...], degree: int
) -> Iterator[np.ndarray]:
    if not rest:
        if reached == degree:
            yield tensor
        return
    for coupled in range(abs(reached - rest[0]), reached + rest[0] + 1):
        # What the remaining degrees cannot bring back to the one wanted need not be made.
        if coupled - sum(rest[1:]) > degree:
            continue
        table = clebsch_gordan(reached, rest[0], coupled)
        yield from _couple(np.tensordot(tensor, table, axes=1), coupled, rest[1:], degree)
