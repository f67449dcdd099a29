"""The symmetric contraction of MACE: every equivariant polynomial of one feature."""

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations_with_replacement
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.kernels.channel_blocks import can_be_split
from tensornet_jax.ops.kernels.channel_function import apply_to_channels
from tensornet_jax.ops.kernels.choice import choose
from tensornet_jax.ops.kernels.symmetric_polynomials import SymmetricPolynomials
from tensornet_jax.ops.tensor_products.equivariant_polynomials import (
    Contraction,
    equivariant_polynomials,
)
from tensornet_jax.ops.tensor_products.polynomial_matrices import Factors, PolynomialMatrices

HIGHEST = lax.Precision.HIGHEST

# Relative to the largest coefficient, what is left of a zero.
_ROUNDING = 1e-12
# Coefficients above which compiling the kernel takes minutes. Hidden vectors and rank-2 tensors of
# degrees to 3 and three factors have 1,459: there the kernel moves a sixtieth of the plain form's
# bytes, and its gradients compile in a minute.
_MOST_TERMS = 1500


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
            Contraction(
                order, degree, *equivariant_polynomials(self.l_max, degree, order, self.parity)
            )
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
        rows = sum(
            (2 * block.degree + 1) * block.polynomials.shape[-1] for block in self.contractions
        )
        evaluate = self._contract_by_path
        if weights.shape[0] * (self.l_out_max + 1) ** 2 <= rows:
            evaluate = self._contract_by_species
        factors, number, found = self._matrices.factors(features), 0, []
        for degree in Degrees(0, self.l_out_max):
            paths = self._matrices.num_paths(degree)
            own = weights[:, number : number + paths]
            found.append(evaluate(degree, factors, own, species))
            number += paths
        return jnp.concatenate(found, axis=1)

    @cached_property
    def _matrices(self) -> PolynomialMatrices:
        return PolynomialMatrices(
            self.l_max, self.l_out_max, self.order, self.parity, self.contractions
        )

    def _contract_by_species(
        self, degree: int, factors: Factors, weights: Array, species: Array
    ) -> Array:
        """One polynomial a species and channel, of which each atom keeps its own."""
        num_species, _, channels = weights.shape
        size = 2 * degree + 1
        # The small factor is turned, so that the large result need not be.
        weights = weights.transpose(2, 0, 1)
        matrices = {
            key: jnp.einsum("csw,wmar->csmar", weights, table, precision=HIGHEST).reshape(
                channels, num_species * size, *table.shape[2:]
            )
            for key, table in self._matrices.tables(degree, weights.dtype).items()
        }
        values = self._matrices.evaluate(matrices, factors)
        values = values.reshape(channels, num_species, size, -1)
        own = (species == jnp.arange(num_species)[:, None]).astype(values.dtype)
        return jnp.einsum("csmn,sn->nmc", values, own, precision=HIGHEST)

    def _contract_by_path(
        self, degree: int, factors: Factors, weights: Array, species: Array
    ) -> Array:
        """Every polynomial for every atom; with many species this is the smaller work."""
        shape = (weights.shape[1], 2 * degree + 1)
        tables = self._matrices.tables(degree, weights.dtype)
        matrices = {
            key: table.reshape(1, shape[0] * shape[1], *table.shape[2:])
            for key, table in tables.items()
        }
        values = self._matrices.evaluate(matrices, factors)
        values = values.reshape(values.shape[0], *shape, species.shape[0])
        own = weights[species]
        return jnp.einsum("cpmn,npc->nmc", values, own, precision=HIGHEST)


def _in_registers(
    polynomials: SymmetricPolynomials, x: Array, weights: Array, species: Array, *, interpret: bool
) -> Array:
    return apply_to_channels(polynomials, weights, species, (x,), interpret=interpret)[0]
