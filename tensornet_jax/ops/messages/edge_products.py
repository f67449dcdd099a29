"""Tensor products of the neighbors' features with the harmonics of the edges, summed at the atoms.

A_i = Σ_j R_ij · (h_j ⊗ Y(r̂_ij)) with weights R_ij of the distance, one for each channel and, by
family, for each path or for each degree of the filter: Eq. 8 of arXiv:2206.07697 for
Clebsch–Gordan, Section 3.3 of arXiv:2401.10216 for Gaunt. Channels are the last axis, so that all
loops run over them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.kernels.choice import choose, for_gpu
from tensornet_jax.ops.kernels.path_message import path_message, takes
from tensornet_jax.ops.kernels.path_terms import Entry, PathTerms, Place
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.edge_matrices import mix
from tensornet_jax.ops.messages.message import (
    at_senders,
    on_both_edges,
    sum_at_receivers,
    to_slots,
)
from tensornet_jax.ops.messages.slot_rows import slot_rows, sum_of_rows
from tensornet_jax.ops.tensor_products import PRODUCTS, ClebschGordan, GauntGrid, TensorProduct

HIGHEST = lax.Precision.HIGHEST


@dataclass(frozen=True)
class EdgeProduct(ABC):
    """A sum over neighbors of products with the edges' harmonics.

    Attributes:
        l_in_max: highest degree of the neighbors' features.
        l_max: highest degree of the harmonics and of the result.
        parity: ``even``: only l1 + l2 + l3 even, which respects inversion; ``both``: all.
    """

    l_in_max: int
    l_max: int
    parity: Literal["even", "both"] = "even"

    @property
    @abstractmethod
    def num_weights(self) -> int:
        """Weights an edge and channel."""

    @property
    @abstractmethod
    def num_copies(self) -> tuple[int, ...]:
        """How many results of each degree 0 … l_max stand side by side."""

    @abstractmethod
    def __call__(
        self,
        features: Float[Array, "atoms in_components channels"],
        harmonics: Float[Array, "edges components"],
        weights: Float[Array, "pairs num_weights channels"],
        edges: EdgeIndex,
    ) -> list[Float[Array, "atoms _ _"]]:
        """Sum over the edges arriving at each atom.

        Args:
            features: (N, (l_in_max + 1)², C) of the atoms.
            harmonics: (E, (l_max + 1)²) of the edges, normalization ``component``.
            weights: (P, num_weights, C) of the pairs, 0 for padding; a product with a weight a path
                also takes those of the edges, (E, num_weights, C).
            edges: connectivity.

        Returns:
            for each degree l (N, 2l + 1, num_copies[l] · C).
        """


@dataclass(frozen=True)
class PathProduct(EdgeProduct):
    """Clebsch–Gordan: a weight a path, and the results of all paths side by side."""

    @cached_property
    def product(self) -> ClebschGordan:
        """The product whose paths these are."""
        return ClebschGordan(self.l_in_max, self.l_max, self.l_max, "component", self.parity)

    @property
    def num_weights(self) -> int:
        """One a path."""
        return len(self.product.paths)

    @property
    def num_copies(self) -> tuple[int, ...]:
        """One a path."""
        return tuple(
            sum(path.l3 == degree for path in self.product.paths)
            for degree in range(self.l_max + 1)
        )

    def __call__(
        self,
        features: Float[Array, "atoms in_components channels"],
        harmonics: Float[Array, "edges components"],
        weights: Float[Array, "pairs num_weights channels"],
        edges: EdgeIndex,
    ) -> list[Float[Array, "atoms _ _"]]:
        """See `EdgeProduct`."""
        terms = self.terms
        return choose(
            partial(path_message, terms),
            self._by_matrices,
            weights,
            features,
            harmonics,
            edges,
            fits=takes(terms, features, weights) and weights.shape[0] != edges.receivers.shape[0],
        )

    @cached_property
    def terms(self) -> PathTerms:
        """The coefficients, one by one."""
        first, second, third = self.product.degrees
        coefficients = self.product.coefficients()
        copies = dict.fromkeys(third, 0)
        entries = []
        for number, path in enumerate(self.product.paths):
            place = first.slice(path.l1), second.slice(path.l2), third.slice(path.l3)
            table = coefficients[place]
            for a, m in np.argwhere(table.any(axis=1)).tolist():
                factors = tuple(
                    (place[1].start + b, float(table[a, b, m]))
                    for b in np.flatnonzero(table[a, :, m]).tolist()
                )
                result = Place(path.l3, m, copies[path.l3])
                entries.append(Entry(number, place[0].start + a, result, factors))
            copies[path.l3] += 1
        return PathTerms((first.size, second.size), self.num_copies, tuple(entries))

    def _by_matrices(
        self, weights: Array, features: Array, harmonics: Array, edges: EdgeIndex
    ) -> list[Array]:
        # One matrix product an atom and path, over neighbors and components at once: nothing of
        # the size edges × paths × components × channels but its right side is written down.
        if weights.shape[0] != edges.receivers.shape[0]:
            weights = on_both_edges(weights)
        neighbors = at_senders(features, edges)
        rows = None if for_gpu(features, weights) else slot_rows(edges)
        table = edges if rows is None else rows.edges
        neighbors, harmonics, weights = (
            to_slots(each, table) for each in (neighbors, harmonics, weights)
        )
        num_rows, num_channels = table.slots.shape[0], features.shape[-1]
        first, second, third = self.product.degrees
        coefficients = self.product.coefficients()
        found: dict[int, list[Array]] = {degree: [] for degree in third}
        for number, path in enumerate(self.product.paths):
            place = first.slice(path.l1), second.slice(path.l2), third.slice(path.l3)
            table = jnp.asarray(coefficients[place], harmonics.dtype)
            matrices = jnp.einsum(
                "nkb,abc->ncka", harmonics[..., place[1]], table, precision=HIGHEST
            )
            weighted = neighbors[:, :, place[0]] * weights[:, :, number, None]
            found[path.l3].append(
                jnp.matmul(
                    matrices.reshape(num_rows, 2 * path.l3 + 1, -1),
                    weighted.reshape(num_rows, -1, num_channels),
                    precision=HIGHEST,
                )
            )
        sums = [jnp.concatenate(parts, axis=-1) for parts in found.values()]
        return sums if rows is None else [sum_of_rows(each, rows) for each in sums]


@dataclass(frozen=True)
class SummedProduct(EdgeProduct):
    """Any product of the library, with a weight a degree of the filter."""

    name: str = "gaunt_fourier"

    @cached_property
    def product(self) -> TensorProduct:
        """The product."""
        return PRODUCTS[self.name](self.l_in_max, self.l_max, self.l_max, "component", self.parity)

    @property
    def num_weights(self) -> int:
        """One a degree of the filter."""
        return self.l_max + 1

    @property
    def num_copies(self) -> tuple[int, ...]:
        """One: all paths are summed."""
        return (1,) * (self.l_max + 1)

    def __call__(
        self,
        features: Float[Array, "atoms in_components channels"],
        harmonics: Float[Array, "edges components"],
        weights: Float[Array, "pairs num_weights channels"],
        edges: EdgeIndex,
    ) -> list[Float[Array, "atoms _ _"]]:
        """See `EdgeProduct`."""
        weights = on_both_edges(weights)
        filters = harmonics[:, :, None] * weights[:, Degrees(0, self.l_max).of_components]
        product = self.product(at_senders(features, edges).mT, filters.mT).mT
        return _split(sum_at_receivers(product, edges))


@dataclass(frozen=True)
class GridProduct(SummedProduct):
    """Gaunt's product on a grid: features go there once an atom, and sums come back once."""

    name: str = "gaunt_grid"

    def __call__(
        self,
        features: Float[Array, "atoms in_components channels"],
        harmonics: Float[Array, "edges components"],
        weights: Float[Array, "pairs num_weights channels"],
        edges: EdgeIndex,
    ) -> list[Float[Array, "atoms _ _"]]:
        """See `EdgeProduct`."""
        product = self.product
        assert isinstance(product, GauntGrid)
        dtype, num_atoms = features.dtype, features.shape[0]
        of_features, of_filter = (jnp.asarray(t, dtype) for t in product.signal_tables())
        # By `mix`: a matrix product would leave the channels in the middle, and the edges, and in
        # the derivative those of the sums, would gather number by number.
        signals = mix(jnp.broadcast_to(of_features.T, (num_atoms, *of_features.mT.shape)), features)
        weights = on_both_edges(weights)
        degrees = Degrees(0, self.l_max)
        filters = [
            jnp.matmul(harmonics[:, block], of_filter[block], precision=HIGHEST)
            for block in map(degrees.slice, degrees)
        ]
        own = mix(jnp.stack(filters, axis=-1), weights)
        summed = sum_at_receivers(own * at_senders(signals, edges), edges)
        project = jnp.asarray(product.projection_table(), dtype)
        return _split(mix(jnp.broadcast_to(project.T, (num_atoms, *project.mT.shape)), summed))


def _split(features: Array) -> list[Array]:
    """Components (N, (l_max + 1)², C) by degree."""
    degrees = Degrees(0, round(np.sqrt(features.shape[1])) - 1)
    return [features[:, degrees.slice(degree)] for degree in degrees]


def edge_product(
    name: str, l_in_max: int, l_max: int, parity: Literal["even", "both"]
) -> EdgeProduct:
    """The sum over neighbors with a product of `PRODUCTS`.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in PRODUCTS:
        raise ValueError(f"unknown product {name!r}: use one of {', '.join(PRODUCTS)}")
    if name == "clebsch_gordan":
        return PathProduct(l_in_max, l_max, parity)
    if name == "gaunt_grid":
        return GridProduct(l_in_max, l_max, parity)
    return SummedProduct(l_in_max, l_max, parity, name)
