"""Hyperparameters of MACE (arXiv:2206.07697) with exchangeable tensor products."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tensornet_jax.models.spherical.config import SphericalConfig

ProductName = Literal["clebsch_gordan", "gaunt_fourier", "gaunt_grid", "matrix", "vector_signal"]


class MACEConfig(SphericalConfig):
    """Hyperparameters of MACE."""

    compressible: ClassVar[bool] = True

    name: Literal["mace"] = "mace"
    hidden_l_max: int = Field(
        default=1,
        ge=0,
        description="highest degree between layers: 1 means hidden irreps 64x0e + 64x1o",
    )
    l_max: int = Field(
        default=3, ge=0, description="highest degree of the edges' harmonics and of the messages"
    )
    correlation: int = Field(
        default=3, ge=1, le=4, description="factors ν of the many-body step; body order ν + 1"
    )
    product: ProductName = Field(
        default="clebsch_gordan", description="tensor product of both steps"
    )
    interaction_product: ProductName | None = Field(
        default=None, description="tensor product of the messages; null for product"
    )
    many_body_product: ProductName | None = Field(
        default=None, description="tensor product of the many-body step; null for product"
    )
    readout_width: int = Field(default=16, ge=2, description="hidden width of the last read-out")

    @model_validator(mode="after")
    def _consistent(self) -> "MACEConfig":
        if self.hidden_l_max > self.l_max:
            raise ValueError(
                f"hidden_l_max ({self.hidden_l_max}) must not be above l_max ({self.l_max}), "
                "the highest degree of the messages"
            )
        return self

    @property
    def num_hops(self) -> int:
        """How many cutoffs away from an atom lie the atoms that its energy depends on."""
        return self.num_layers

    @property
    def highest_degree(self) -> int:
        """The highest degree of the features that heads see."""
        return self.hidden_l_max

    @property
    def degree_remedy(self) -> str:
        """What to do about a tensor that needs a higher degree."""
        return "raise hidden_l_max"

    @property
    def products(self) -> tuple[ProductName, ProductName]:
        """The products of the messages and of the many-body step."""
        return self.interaction_product or self.product, self.many_body_product or self.product

    @property
    def parity(self) -> Literal["even", "both"]:
        """Which couplings the group allows between features of natural parity."""
        return "even" if self.group == "O(3)" else "both"
