"""Energies that physics gives and no network has to learn: priors.

Any model takes them, as a list in its configuration. They are added in eV, after the network's
energies have been scaled, and differentiated along with them.
"""

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
from tensornet_jax.models.physics.electrostatics import (
    CoulombRange,
    coulomb_energies,
    edges_within,
    pair_distances,
)
from tensornet_jax.ops.interactions.coulomb import cosine_switch
from tensornet_jax.ops.interactions.dispersion import D2_ELEMENTS, d2_energies, d2_parameters
from tensornet_jax.ops.interactions.zbl import EXPONENT, PREFACTOR, screening_lengths, zbl_energies
from tensornet_jax.ops.messages.message import on_both_edges, sum_at_receivers
from tensornet_jax.ops.radial import cosine_envelope, polynomial_envelope, switched_off
from tensornet_jax.units import COULOMB


class AtomPairs(NamedTuple):
    """The pairs of a list: (P,) distances in Å, 1 for padding; species of both atoms."""

    distances: Array
    species: tuple[Array, Array]


class Prior(Config):
    """What every prior has."""

    name: str = ""
    scale: float = Field(default=1.0, description="factor on the energy")

    @abstractmethod
    def reach(self, cutoff: float) -> float:
        """Distance in Å from which on there is no energy, given the network's cutoff."""

    def periodic_reach(self, cutoff: float) -> float:
        """The same in a periodic structure, where pairs always end somewhere."""
        return self.reach(cutoff)

    @abstractmethod
    def energies(
        self, graph: AtomGraph, numbers: np.ndarray, cutoff: float, charges: Array | None
    ) -> Array:
        """Energies of the atoms in eV, (N,).

        Args:
            graph: structures.
            numbers: element table.
            cutoff: of the network, Å.
            charges: (N,) e that the model predicts, if it does.
        """


class PairPrior(Prior):
    """A prior that is a sum over pairs within its reach."""

    @abstractmethod
    def pair_energies(self, pairs: AtomPairs, numbers: np.ndarray, cutoff: float) -> Array:
        """Energy of each pair in eV, (P,), given the element table and the network's cutoff."""

    def energies(
        self, graph: AtomGraph, numbers: np.ndarray, cutoff: float, charges: Array | None
    ) -> Array:
        """Half of the energy of each pair at either atom, (N,) eV."""
        edges = edges_within(graph, self.reach(cutoff), cutoff)
        first, second = edges.receivers[: edges.num_pairs], edges.senders[: edges.num_pairs]
        species = graph.species[first], graph.species[second]
        pairs = AtomPairs(pair_distances(graph, edges), species)
        energies = self.pair_energies(pairs, numbers, cutoff)
        halves = jnp.where(edges.pair_mask, 0.5 * energies, 0)
        return sum_at_receivers(on_both_edges(halves), edges.index)


class ZBL(PairPrior):
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


class D2(PairPrior):
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


class Coulomb(CoulombRange, Prior):
    """Energy of charges, which the structures bring or the model predicts."""

    name: Literal["coulomb"] = "coulomb"
    charges: Literal["fixed", "predicted"] = Field(
        default="fixed",
        description="fixed: atoms.set_initial_charges; predicted: by the network, summing to the "
        "total charge",
    )
    switch_from: float = Field(default=0.5, ge=0, description="Å, below which there is no energy")
    switch_to: float = Field(default=2.0, gt=0, description="Å, beyond which there is all of it")

    @model_validator(mode="after")
    def _consistent(self) -> "Coulomb":
        if self.switch_from >= self.switch_to:
            raise ValueError(
                f"switch_from ({self.switch_from} Å) must be below switch_to ({self.switch_to} Å)"
            )
        return self

    @property
    def full_strength(self) -> float:
        """Distance in Å from which on charges interact by Coulomb's law, nothing left out."""
        return self.switch_to

    def reach(self, cutoff: float) -> float:
        """Cutoff in Å, or infinity."""
        return self.molecule_reach()

    def energies(
        self, graph: AtomGraph, numbers: np.ndarray, cutoff: float, charges: Array | None
    ) -> Array:
        """Energies of the atoms in eV, (N,)."""
        if self.charges == "fixed":
            charges = graph.initial_charges
        if charges is None:
            raise ValueError(
                "the graph has no charges: make its structures by Potential.structure"
                if self.charges == "fixed"
                else "the model predicts no charges"
            )

        def left_out(distances: Array) -> Array:
            return 1 - cosine_switch(distances, self.switch_from, self.switch_to)

        return coulomb_energies(charges[:, None], graph, self, cutoff, left_out)[:, 0]


AnyPrior = Annotated[ZBL | D2 | Coulomb, Field(discriminator="name")]
"""A section of `priors` in a model's configuration."""


def prior_energies(
    priors: Sequence[Prior],
    cutoff: float,
    numbers: Sequence[int],
    graph: AtomGraph,
    charges: Array | None = None,
) -> Array:
    """Energies of all priors.

    Args:
        priors: of the model's configuration.
        cutoff: of the network, Å.
        numbers: element table.
        graph: structures.
        charges: (N,) e that the model predicts, if it does.

    Returns:
        (N,) eV, 0 for padding.
    """
    table = np.asarray(numbers)
    total = jnp.zeros(graph.positions.shape[0], graph.positions.dtype)
    for prior in priors:
        total = total + prior.scale * prior.energies(graph, table, cutoff, charges)
    return total
