"""Hyperparameters of eSCN (arXiv:2302.03655)."""

from typing import Literal

from pydantic import Field, model_validator

from tensornet_jax.models.spherical.config import SphericalConfig


class ESCNConfig(SphericalConfig):
    """Hyperparameters of eSCN."""

    name: Literal["escn"] = "escn"
    hidden_channels: int = Field(default=64, ge=1, description="channels inside a convolution")
    l_max: int = Field(default=3, ge=0, description="highest degree of the features")
    m_max: int | None = Field(
        default=2,
        ge=0,
        description="highest order the convolutions keep; null for l_max: nothing is cut off",
    )
    convolution: Literal["so2", "clebsch_gordan"] = Field(
        default="so2",
        description="how convolutions are evaluated; clebsch_gordan is the same function at a cost "
        "that grows like L⁶, to compare with",
    )
    activation: Literal["gate", "grid"] = Field(
        default="gate",
        description="of the atoms: gates, or products of signals on a grid that is exact for them",
    )
    readout_width: int = Field(default=64, ge=1, description="hidden width of the read-out")

    @model_validator(mode="after")
    def _consistent(self) -> "ESCNConfig":
        if self.m_max is not None and self.m_max > self.l_max:
            raise ValueError(
                f"m_max ({self.m_max}) must not be above l_max ({self.l_max}): there are no such "
                "orders; use null for all"
            )
        return self

    @property
    def num_hops(self) -> int:
        """How many cutoffs away from an atom lie the atoms that its energy depends on."""
        # The first features know where the neighbors are.
        return self.num_layers + 1

    @property
    def last_weights(self) -> tuple[str, ...]:
        """Paths of the weights that energies of atoms are linear in, below "params"."""
        return ("readouts_energy/kernel_1",)

    @property
    def highest_degree(self) -> int:
        """The highest degree of the features that heads see."""
        return self.l_max

    @property
    def degree_remedy(self) -> str:
        """What to do about a tensor that needs a higher degree."""
        return "raise l_max"

    @property
    def highest_order(self) -> int:
        """The orders |m| up to which the convolutions work."""
        return self.l_max if self.m_max is None else self.m_max
