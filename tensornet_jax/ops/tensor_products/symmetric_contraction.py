"""The symmetric contraction of MACE: every equivariant polynomial of one feature."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import combinations_with_replacement, product
from math import factorial, prod
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.kernels.channel_blocks import can_be_split
from tensornet_jax.ops.kernels.channel_function import apply_to_channels
from tensornet_jax.ops.kernels.choice import choose
from tensornet_jax.ops.kernels.symmetric_polynomials import SymmetricPolynomials

# Below it, the rest of a vector that the others span already is rounding.
_INDEPENDENT = 1e-6
# Relative to the largest coefficient, what is left of a zero.
_ROUNDING = 1e-12
# Coefficients above which compiling the kernel takes longer than a model is worth.
_MOST_TERMS = 1000


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


@dataclass(frozen=True)
class SymmetricContraction:
    """z_lm = Σ_ν Σ_η w_νlη U_νlη(x, …, x)_m with ν = 1 … order factors (arXiv:2206.07697, Eq. 10).

    The U_νlη are an orthonormal basis of the *symmetric* equivariant maps V ⊗ … ⊗ V → V_l, and
    not, as in the paper and in MACE, of all couplings η, many of which agree on equal factors: the
    same functions with fewer weights. Each U is a polynomial in the components of x.

    Attributes:
        l_max: highest degree of x.
        l_out_max: highest degree of the result.
        order: the largest number of factors, 1 to 4; the body order is one more.
        parity: ``even``: only couplings with Σ l + l_out even, which respect inversion for
            features of natural parity (−1)^l; ``both``: all.

    Raises:
        ValueError: a degree is negative, or the order not from 1 to 4.
    """

    l_max: int
    l_out_max: int
    order: int
    parity: Literal["even", "both"] = "even"

    def __post_init__(self) -> None:
        if min(self.l_max, self.l_out_max) < 0 or not 1 <= self.order <= 4:
            raise ValueError(f"{self}: degrees of at least 0 and an order of 1 to 4 are needed")

    @cached_property
    def contractions(self) -> tuple[Contraction, ...]:
        """The blocks that have any path, in the order of the weights: by degree, then by order."""
        blocks = (
            Contraction(order, degree, *_polynomials(self.l_max, degree, order, self.parity))
            for degree in range(self.l_out_max + 1)
            for order in range(1, self.order + 1)
        )
        return tuple(block for block in blocks if block.factors)

    @property
    def num_weights(self) -> int:
        """How many paths there are, all orders and degrees together."""
        return sum(len(block.factors) for block in self.contractions)

    def __call__(
        self,
        x: Float[Array, "atoms components channels"],
        weights: Float[Array, "species num_weights channels"],
        species: Int[Array, " atoms"],
    ) -> Float[Array, "atoms out_components channels"]:
        """Contract, with weights of the atoms' species.

        Args:
            x: (N, (l_max + 1)², C) features in e3nn's order, channels last.
            weights: (S, num_weights, C).
            species: (N,) from 0 to S − 1.

        Returns:
            (N, (l_out_max + 1)², C).
        """
        polynomials = self.by_monomial
        return choose(
            partial(_in_registers, polynomials),
            self._by_matrices,
            x,
            weights,
            species,
            fits=polynomials.num_factors <= _MOST_TERMS and can_be_split(weights, x),
        )

    @cached_property
    def by_monomial(self) -> SymmetricPolynomials:
        """The polynomials, with those coefficients alone that are not zero."""
        found: dict[tuple[int, ...], dict[int, list[tuple[int, float]]]] = {}
        number = 0
        for block in self.contractions:
            components = range((self.l_max + 1) ** 2)
            monomials = list(combinations_with_replacement(components, block.order))
            first = Degrees(0, self.l_out_max).slice(block.degree).start
            largest = np.abs(block.polynomials).max()
            present = np.argwhere(np.abs(block.polynomials) > _ROUNDING * largest)
            for row, component, path in present.tolist():
                sums = found.setdefault(monomials[row], {}).setdefault(first + component, [])
                sums.append((number + path, float(block.polynomials[row, component, path])))
            number += len(block.factors)
        terms = tuple(
            (monomial, tuple((m, tuple(sums)) for m, sums in found[monomial].items()))
            for monomial in sorted(found)
        )
        return SymmetricPolynomials((self.l_out_max + 1) ** 2, terms)

    def _by_matrices(self, x: Array, weights: Array, species: Array) -> Array:
        features = jnp.transpose(x, (2, 1, 0))
        if weights.shape[0] * (self.l_out_max + 1) ** 2 <= self._by_path.shape[0]:
            return self._contract_by_species(features, weights, species)
        return self._contract_by_path(features, weights, species)

    def _contract_by_species(self, x: Array, weights: Array, species: Array) -> Array:
        """One polynomial a species and channel, of which each atom keeps its own."""
        table = jnp.asarray(self._by_weight, weights.dtype)
        # The small factor is turned, so that the large result need not be.
        weights = weights.transpose(2, 0, 1)
        tensors = jnp.einsum("csw,wmar->csmar", weights, table, precision=HIGHEST)
        channels, num_species, size = tensors.shape[:3]
        values = self._evaluate(tensors.reshape(channels, -1, *tensors.shape[3:]), x)
        values = values.reshape(channels, num_species, size, -1)
        own = (species == jnp.arange(num_species)[:, None]).astype(values.dtype)
        return jnp.einsum("csmn,sn->nmc", values, own, precision=HIGHEST)

    def _contract_by_path(self, x: Array, weights: Array, species: Array) -> Array:
        """Every polynomial for every atom; with many species this is the smaller work."""
        values = self._evaluate(jnp.asarray(self._by_path, x.dtype)[None], x)
        of_atoms = weights[species].transpose(1, 2, 0)
        parts: list[Array | float] = [0.0] * (self.l_out_max + 1)
        column = number = 0
        for block in self.contractions:
            size, paths = block.polynomials.shape[1:]
            part = values[:, column : column + size * paths]
            part = part.reshape(len(part), size, paths, -1)
            own = of_atoms[number : number + paths]
            parts[block.degree] += jnp.einsum("cmpn,pcn->nmc", part, own, precision=HIGHEST)
            column, number = column + size * paths, number + paths
        return jnp.concatenate(parts, axis=1)

    def _evaluate(self, coefficients: Array, x: Array) -> Array:
        """Polynomials Σ_a x_a Σ_r T_ar · (product r of the other factors).

        All monomials at once would be one matrix product less, but nearly all the time would go
        into writing them down.

        Args:
            coefficients: (C or 1, polynomials, size, rows).
            x: (C, size, N).

        Returns:
            (C, polynomials, N).
        """
        channels, size, num_atoms = x.shape
        others = jnp.concatenate(_products_of_others(x, self.order), axis=1)
        matrix = coefficients.reshape(len(coefficients), -1, others.shape[1])
        inner = jnp.matmul(matrix, others, precision=HIGHEST)
        return jnp.sum(inner.reshape(channels, -1, size, num_atoms) * x[:, None], axis=2)

    @cached_property
    def _by_weight(self) -> np.ndarray:
        """Coefficients (weights, components of z, size, rows)."""
        size = (self.l_max + 1) ** 2
        shape = (self.num_weights, (self.l_out_max + 1) ** 2, *self._rows_of(1)[1])
        table, number = np.zeros(shape), 0
        for block in self.contractions:
            firsts, rows = self._rows_of(block.order)[0]
            place = range((self.l_out_max + 1) ** 2)[Degrees(0, self.l_out_max).slice(block.degree)]
            for path in range(len(block.factors)):
                for component, m in enumerate(place):
                    values = block.polynomials[:, component, path]
                    table[number, m, firsts, rows] = values
                number += 1
        assert shape[2] == size
        return table

    @cached_property
    def _by_path(self) -> np.ndarray:
        """Coefficients (Σ (2l + 1) · paths, size, rows), in the order of blocks, m and paths."""
        tables = []
        for block in self.contractions:
            (firsts, rows), shape = self._rows_of(block.order)
            own = block.polynomials.reshape(len(firsts), -1)
            table = np.zeros((own.shape[1], *shape))
            table[:, firsts, rows] = own.T
            tables.append(table)
        return np.concatenate(tables)

    def _rows_of(self, order: int) -> tuple[tuple[np.ndarray, np.ndarray], tuple[int, int]]:
        """First factor and row of the others for each monomial of an order, and their counts."""
        size = (self.l_max + 1) ** 2
        numbers: list[dict[tuple[int, ...], int]] = []
        start = 0
        for others in range(self.order):
            tuples = product(range(size), repeat=others)
            if others > 2:
                tuples = combinations_with_replacement(range(size), others)
            numbers.append({each: start + i for i, each in enumerate(tuples)})
            start += len(numbers[-1])
        monomials = list(combinations_with_replacement(range(size), order))
        firsts = np.array([first for first, *_ in monomials])
        rows = np.array([numbers[order - 1][tuple(rest)] for _, *rest in monomials])
        return (firsts, rows), (size, start)


HIGHEST = lax.Precision.HIGHEST


def _in_registers(
    polynomials: SymmetricPolynomials, x: Array, weights: Array, species: Array, *, interpret: bool
) -> Array:
    return apply_to_channels(polynomials, weights, species, (x,), interpret=interpret)[0]


def _products_of_others(x: Array, order: int) -> list[Array]:
    """Products of 0 … order − 1 factors of x (C, size, N), each (C, count, N).

    Of two factors all, in either order, which is a plain outer product; of more only those in
    lexicographic order. There those of the last ν − 1 factors not below a are the last ones of
    order ν − 1: no gather is needed, whose derivative would be a scatter.
    """
    channels, size, num_atoms = x.shape
    found = [jnp.ones((channels, 1, num_atoms), x.dtype), x]
    if order > 2:
        found.append((x[:, :, None] * x[:, None]).reshape(channels, -1, num_atoms))
    if order > 3:
        pairs = [x[:, a : a + 1] * x[:, a:] for a in range(size)]
        lower = jnp.concatenate(pairs, axis=1)
        total = lower.shape[1]
        # Pairs of which both are a or later.
        counts = [(size - a) * (size - a + 1) // 2 for a in range(size)]
        triples = [x[:, a : a + 1] * lower[:, total - count :] for a, count in enumerate(counts)]
        found.append(jnp.concatenate(triples, axis=1))
    return found[:order]


@cache
def _polynomials(
    l_max: int, degree: int, order: int, parity: str
) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """An orthonormal basis of symmetric maps to one degree, and the degrees of their factors.

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
