"""Which energies physics gives: settings of Coulomb energies and of priors, read without jax."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tensornet_jax.config import NOT_SET_BY_USERS, Config
from tensornet_jax.graph.long_range import EwaldMethod, KVectors
from tensornet_jax.ops.interactions.reciprocal_space import (
    mesh_spacing,
    reciprocal_cutoff,
    splitting_of,
)


class Ewald(Config):
    """How the charges of a periodic structure and of all its images are summed."""

    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å, of the pairs that are summed one by one; null for the network's cutoff",
    )
    accuracy: float = Field(
        default=1e-6,
        gt=0,
        le=1e-2,
        description="of the potential of a unit charge, e/Å",
    )
    method: EwaldMethod = Field(
        default="auto",
        description="sum over k vectors, particle mesh for large cells, or auto for the faster one",
    )
    background: bool = Field(
        default=False,
        description="neutralize a charged cell by a uniform charge; false to refuse it",
    )


class CoulombRange(Config):
    """Which pairs of charges count, and what lies beyond."""

    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å, of a reaction field; null for all pairs of a molecule, and all images of a "
        "periodic structure (Ewald)",
    )
    dielectric: float | None = Field(
        default=None,
        ge=1,
        description="constant beyond the cutoff; null for a conductor, whose forces end smoothly",
    )
    ewald: Ewald = Field(
        default=Ewald(), description="how periodic structures are summed where cutoff is null"
    )

    @property
    def full_strength(self) -> float:
        """Distance in Å from which on charges interact by Coulomb's law, nothing left out."""
        return 0.0

    def periodic_reach(self, cutoff: float) -> float:
        """Distance in Å to which pairs of a periodic structure are listed, given the network's."""
        return self.cutoff or max(self.ewald.cutoff or cutoff, self.full_strength)

    def molecule_reach(self) -> float:
        """The same of a molecule; infinite for all pairs."""
        return self.cutoff or math.inf

    def splitting(self, cutoff: float) -> float:
        """α of the Ewald sum in Å⁻¹, given the network's cutoff."""
        return splitting_of(self.periodic_reach(cutoff), self.ewald.accuracy)

    def k_vectors(self, cutoff: float) -> KVectors | None:
        """k vectors its Ewald sum needs, given the network's cutoff; None if there is a cutoff."""
        if self.cutoff is not None:
            return None
        splitting, accuracy = self.splitting(cutoff), self.ewald.accuracy
        return KVectors(
            reciprocal_cutoff(splitting, accuracy),
            mesh_spacing(splitting, accuracy),
            self.ewald.method,
            self.ewald.background,
        )


def finest_k_vectors(ranges: Sequence[CoulombRange], cutoff: float) -> KVectors | None:
    """k vectors that are enough for all of several Coulomb energies; None where none needs any.

    Raises:
        ValueError: their methods differ.
    """
    found = [k_vectors for each in ranges if (k_vectors := each.k_vectors(cutoff)) is not None]
    if not found:
        return None
    methods = {k_vectors.method for k_vectors in found}
    if len(methods) > 1:
        raise ValueError(
            f"Coulomb energies of one model share their k vectors, and ewald.method is "
            f"{' and '.join(sorted(methods))}: choose one"
        )
    return KVectors(
        max(k_vectors.cutoff for k_vectors in found),
        min(k_vectors.spacing for k_vectors in found),
        found[0].method,
        all(k_vectors.background for k_vectors in found),
    )


class Prior(Config):
    """What every prior has."""

    name: str = ""
    scale: float = Field(default=1.0, description="factor on the energy")
    head_scales: tuple[float, ...] = Field(
        default=(),
        description="factor beside scale for each head of a model with several; none: 1 for all",
        json_schema_extra=NOT_SET_BY_USERS,
    )

    @abstractmethod
    def reach(self, cutoff: float) -> float:
        """Distance in Å from which on there is no energy, given the network's cutoff."""

    def periodic_reach(self, cutoff: float) -> float:
        """The same in a periodic structure, where pairs always end somewhere."""
        return self.reach(cutoff)


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
        default=0.8854, gt=0, description="of the screening length, Bohr radii"
    )
    exponent: float = Field(
        default=0.23, gt=0, description="of the atomic numbers in the screening length"
    )
    envelope_exponent: int = Field(
        default=6, ge=3, description="exponent p of the polynomial that ends it"
    )
    third_decay: float = Field(
        default=0.4029,
        gt=0,
        description="decay of the screening function's third part, 0.4028 in mace-torch",
        json_schema_extra=NOT_SET_BY_USERS,
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


AnyPrior = Annotated[ZBL | D2 | Coulomb, Field(discriminator="name")]
"""A section of `priors` in a model's configuration."""
