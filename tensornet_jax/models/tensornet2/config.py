"""Hyperparameters of TensorNet2."""

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from tensornet_jax.models.physics.config import CoulombRange
from tensornet_jax.models.tensornet.config import CartesianConfig


class PredictedCoulomb(CoulombRange):
    """Coulomb energy of predicted charges."""

    damping_radius: float = Field(
        default=4.6,
        gt=0,
        description="Å, below which the energy is reduced and left to the network",
    )
    scale: float = Field(default=1.0, description="factor on the energy")

    @property
    def full_strength(self) -> float:
        """Distance in Å from which on charges interact by Coulomb's law, nothing left out."""
        return self.damping_radius


class TensorNet2Config(CartesianConfig):
    """Hyperparameters of TensorNet2."""

    name: Literal["tensornet2"] = "tensornet2"
    num_charges: int = Field(default=16, ge=1, description="charges of an atom, sets side by side")
    charge_weights: tuple[float, ...] | None = Field(
        default=None,
        description="weights of the charges after the embedding and after each layer, in the "
        "Coulomb energy and in what the model gives as charges; null for the last alone",
    )
    coulomb: PredictedCoulomb | None = Field(
        default=PredictedCoulomb(),
        description="Coulomb energy of the charges; null for charges that only filters see",
    )
    readout_layers: int = Field(default=1, ge=1, description="hidden layers of the read-out")

    @model_validator(mode="after")
    def _consistent_charges(self) -> "TensorNet2Config":
        if self.dipole_form != "charges":
            raise ValueError(
                "tensornet2 makes dipoles of the charges it has anyway: set dipole_form: charges"
            )
        if self.coulomb and self.sums_predicted_charges:
            raise ValueError(
                "tensornet2 has the Coulomb energy of its charges already: leave the prior out, or "
                "set coulomb: null"
            )
        weights = self.charge_weights
        if weights is None:
            return self
        if len(weights) != self.num_layers + 1:
            raise ValueError(
                f"charge_weights {list(weights)} are {len(weights)}: give num_layers + 1 = "
                f"{self.num_layers + 1}, one for the embedding and one for each layer"
            )
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"charge_weights {list(weights)} must not be negative, nor all 0")
        return self

    @property
    def of_all_atoms(self) -> tuple[str, ...]:
        """What of its energy depends on all atoms of a structure at once, however far apart."""
        return (*super().of_all_atoms, "charges that sum to the total charge")

    @property
    def coulomb_ranges(self) -> tuple[CoulombRange, ...]:
        """Which charges count in each Coulomb energy of the model."""
        own = (self.coulomb,) if self.coulomb else ()
        return (*super().coulomb_ranges, *own)

    @property
    def predicts_charges(self) -> bool:
        """Charges of the atoms are among the outputs."""
        return True

    @property
    def has_other_heads(self) -> bool:
        """Whether it needs `heads.read_outs.OtherHeads`; charges it has anyway."""
        return bool(self.tensors)

    @property
    def last_weights(self) -> tuple[str, ...]:
        """Paths of the weights that energies of atoms are linear in, below "params"."""
        return (f"readout/layers_{self.readout_layers}/kernel",)

    def set_weights(self) -> np.ndarray:
        """Weights of all sets of charges, stage by stage, ((L + 1) · Q,); they sum to 1."""
        stages = self.charge_weights or (0.0,) * self.num_layers + (1.0,)
        weights = np.repeat(stages, self.num_charges)
        return weights / weights.sum()
