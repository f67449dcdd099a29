"""Energies of pairs of atoms that physics gives and no network has to learn: priors.

Any model takes them, as a list in its configuration. They are added in eV, after the network's
energies have been scaled, and differentiated along with them.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.config import NOT_SET_BY_USERS, Config
from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.ops.coulomb import cosine_switch, reaction_field
from tensornet_jax.ops.dispersion import D2_ELEMENTS, d2_energies, d2_parameters
from tensornet_jax.ops.message import on_both_edges, sum_at_receivers
from tensornet_jax.ops.radial import cosine_envelope, polynomial_envelope, switched_off
from tensornet_jax.ops.safe import norm
from tensornet_jax.ops.zbl import EXPONENT, PREFACTOR, screening_lengths, zbl_energies
from tensornet_jax.units import COULOMB


class AtomPairs(NamedTuple):
    """The pairs of a list: (P,) distances in Å, 1 for padding; species and charges (e) of both."""

    distances: Array
    species: tuple[Array, Array]
    charges: tuple[Array, Array] | None


class Prior(Config):
    """What every prior has."""

    name: str = ""
    scale: float = Field(default=1.0, description="factor on the energy")

    @abstractmethod
    def reach(self, cutoff: float) -> float:
        """Distance in Å from which on there is no energy, given the network's cutoff."""

    @abstractmethod
    def pair_energies(self, pairs: AtomPairs, numbers: np.ndarray, cutoff: float) -> Array:
        """Energy of each pair in eV, (P,), given the element table and the network's cutoff."""


class ZBL(Prior):
    """Screened repulsion of nuclei, which keeps atoms apart where there are no data."""

    name: Literal["zbl"] = "zbl"
    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å; null for the sum of both covalent radii, within the network's cutoff",
    )
    envelope: Literal["polynomial", "cosine"] = Field(
        default="polynomial",
        description="how it ends; the cosine (torchmd-net) has a step in the Hessian",
    )
    prefactor: float = Field(
        default=PREFACTOR, gt=0, description="of the screening length, Bohr radii"
    )
    exponent: float = Field(
        default=EXPONENT, gt=0, description="of the atomic numbers in the screening length"
    )
    float32_lengths: bool = Field(
        default=False,
        description="round screening lengths to float32, as torchmd-net does in all its models",
        json_schema_extra=NOT_SET_BY_USERS,
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ZBL":
        if self.cutoff is None and self.envelope == "cosine":
            raise ValueError("envelope: cosine needs a cutoff in Å, the same for all elements")
        return self

    def reach(self, cutoff: float) -> float:
        """Cutoff in Å."""
        return self.cutoff or cutoff

    def pair_energies(self, pairs: AtomPairs, numbers: np.ndarray, cutoff: float) -> Array:
        """Energy of each pair in eV, (P,)."""
        distances, dtype = pairs.distances, pairs.distances.dtype
        charges = jnp.asarray(numbers, dtype)
        lengths = screening_lengths(
            numbers, self.prefactor, self.exponent, float32=self.float32_lengths
        )
        first, second = pairs.species
        lengths = jnp.asarray(lengths, dtype)[first, second]
        energies = zbl_energies(distances, charges[first], charges[second], lengths)
        return COULOMB * energies * self._envelope(pairs, numbers, cutoff)

    def _envelope(self, pairs: AtomPairs, numbers: np.ndarray, cutoff: float) -> Array:
        if self.cutoff is None:
            radii = jnp.asarray(covalent_radii[numbers], pairs.distances.dtype)
            ends = jnp.minimum(sum(radii[s] for s in pairs.species), cutoff)
            return polynomial_envelope(pairs.distances / ends, 1.0)
        shape = cosine_envelope if self.envelope == "cosine" else polynomial_envelope
        return shape(pairs.distances, self.cutoff)


class D2(Prior):
    """Grimme's dispersion of 2006, H to Xe, for data of a density functional that lacks it."""

    name: Literal["d2"] = "d2"
    scale: float = Field(
        default=1.0,
        description="s6 of the functional: 0.75 for PBE, 1.05 for B3LYP and BP86, 1.2 for BLYP",
    )
    cutoff: float = Field(default=14.0, gt=0, description="Å")
    switch_width: float = Field(
        default=2.0,
        ge=0,
        description="Å before the cutoff in which the energy is switched off; 0 for a step there",
    )
    steepness: float = Field(default=20.0, gt=0, description="d of the damping at short distance")

    @model_validator(mode="after")
    def _consistent(self) -> "D2":
        if self.switch_width > self.cutoff:
            raise ValueError(
                f"switch_width {self.switch_width} Å must not exceed the cutoff {self.cutoff} Å"
            )
        return self

    def reach(self, cutoff: float) -> float:
        """Cutoff in Å."""
        return self.cutoff

    def pair_energies(self, pairs: AtomPairs, numbers: np.ndarray, cutoff: float) -> Array:
        """Energy of each pair in eV, (P,)."""
        unknown = [chemical_symbols[number] for number in sorted({*numbers} - {*D2_ELEMENTS})]
        if unknown:
            raise ValueError(
                f"D2 has no parameters for {', '.join(unknown)}, only for H to Xe: "
                "leave out the prior or these elements"
            )
        distances = pairs.distances
        c6, radii = (jnp.asarray(each[numbers], distances.dtype) for each in d2_parameters())
        first, second = pairs.species
        energies = d2_energies(
            distances, (c6[first], c6[second]), (radii[first], radii[second]), self.steepness
        )
        return energies * switched_off(distances, self.cutoff, self.switch_width)


class CoulombRange(Config):
    """Which pairs of charges count, and what lies beyond."""

    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å, of a reaction field, also for periodic structures; null for all pairs of a "
        "molecule",
    )
    dielectric: float | None = Field(
        default=None,
        ge=1,
        description="constant beyond the cutoff; null for a conductor, whose forces end smoothly",
    )


class Coulomb(Prior, CoulombRange):
    """Energy of charges that the structures bring: `atoms.set_initial_charges`."""

    name: Literal["coulomb"] = "coulomb"
    switch_from: float = Field(default=0.5, ge=0, description="Å, below which there is no energy")
    switch_to: float = Field(default=2.0, gt=0, description="Å, beyond which there is all of it")

    @model_validator(mode="after")
    def _consistent(self) -> "Coulomb":
        if self.switch_from >= self.switch_to:
            raise ValueError(
                f"switch_from ({self.switch_from} Å) must be below switch_to ({self.switch_to} Å)"
            )
        return self

    def reach(self, cutoff: float) -> float:
        """Cutoff in Å, or infinity."""
        return self.cutoff or math.inf

    def pair_energies(self, pairs: AtomPairs, numbers: np.ndarray, cutoff: float) -> Array:
        """Energy of each pair in eV, (P,)."""
        if pairs.charges is None:
            raise ValueError("the graph has no charges: make its structures by Potential.structure")
        switch = cosine_switch(pairs.distances, self.switch_from, self.switch_to)
        kernel = coulomb_kernel(pairs.distances, self.cutoff, self.dielectric)
        return COULOMB * pairs.charges[0] * pairs.charges[1] * switch * kernel


AnyPrior = Annotated[ZBL | D2 | Coulomb, Field(discriminator="name")]
"""A section of `priors` in a model's configuration."""


def coulomb_kernel(distances: Array, cutoff: float | None, dielectric: float | None) -> Array:
    """Energy per e² over the Coulomb constant, in Å⁻¹: 1/d, or a reaction field up to the cutoff.

    Args:
        distances: (...) Å, not 0.
        cutoff: Å; None for all pairs.
        dielectric: of the reaction field; None for a conductor.
    """
    if cutoff is None:
        return 1 / distances
    return reaction_field(distances, cutoff, dielectric or math.inf)


def longest_reach(priors: Sequence[Prior], cutoff: float) -> float:
    """Distance in Å beyond which neither network nor prior has an energy; it may be infinite."""
    return max((prior.reach(cutoff) for prior in priors), default=cutoff)


def edges_within(graph: AtomGraph, reach: float, cutoff: float) -> EdgeList:
    """Return the shortest list of a graph that holds the pairs within a reach.

    Args:
        graph: the graph.
        reach: Å.
        cutoff: of the network, Å, to which the graph's ordinary list extends.
    """
    if reach <= cutoff:
        return graph.edges
    if graph.long_edges is None:
        raise ValueError(
            "the graph has no list of pairs beyond the network's cutoff: make its structures by "
            "Potential.structure"
        )
    return graph.long_edges


def pair_distances(graph: AtomGraph, edges: EdgeList) -> Array:
    """(P,) distances of pairs in Å, 1 for padding, where a kernel may have a pole at 0."""
    return jnp.where(edges.pair_mask, norm(graph.pair_vectors(edges)), 1)


def prior_energies(
    priors: Sequence[Prior], cutoff: float, numbers: Sequence[int], graph: AtomGraph
) -> Array:
    """Energies of all priors, half of each pair's at either atom.

    Args:
        priors: of the model's configuration.
        cutoff: of the network, Å.
        numbers: element table.
        graph: structures.

    Returns:
        (N,) eV, 0 for padding.
    """
    table = np.asarray(numbers)
    total = jnp.zeros(graph.positions.shape[0], graph.positions.dtype)
    for prior in priors:
        edges = edges_within(graph, prior.reach(cutoff), cutoff)
        first, second = edges.receivers[: edges.num_pairs], edges.senders[: edges.num_pairs]
        charges = graph.initial_charges
        pairs = AtomPairs(
            pair_distances(graph, edges),
            (graph.species[first], graph.species[second]),
            None if charges is None else (charges[first], charges[second]),
        )
        energies = prior.scale * prior.pair_energies(pairs, table, cutoff)
        halves = jnp.where(edges.pair_mask, 0.5 * energies, 0)
        total = total + sum_at_receivers(on_both_edges(halves), edges.index)
    return total
