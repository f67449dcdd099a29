"""Hyperparameters that models of spherical features have in common."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tensornet_jax.models.config import ModelConfig


class SphericalConfig(ModelConfig):
    """Hyperparameters that models of spherical features have in common."""

    num_channels: int = Field(default=64, ge=2, description="channels of every degree")
    num_layers: int = Field(default=2, ge=1, description="interaction layers")
    group: Literal["O(3)", "SO(3)"] = Field(
        default="O(3)", description="symmetry: O(3) tells no enantiomer from its mirror image"
    )
    num_radial: int = Field(default=8, ge=1, description="Bessel functions R")
    radial_widths: tuple[int, ...] = Field(
        default=(64, 64), min_length=1, description="hidden layers of the radial networks"
    )
    envelope_exponent: int = Field(
        default=5, ge=3, description="exponent p of the polynomial cutoff function"
    )
    avg_num_neighbors: float | None = Field(
        default=None,
        gt=0,
        description="messages are divided by it; null: the mean of the training data",
    )

    @model_validator(mode="after")
    def _positive_widths(self) -> Self:
        if any(width < 1 for width in self.radial_widths):
            raise ValueError(f"radial_widths {list(self.radial_widths)} must be at least 1")
        return self

    @property
    def message_scale(self) -> float:
        """What sums over neighbors are multiplied by; 1 if nothing is known of them."""
        return 1 / (self.avg_num_neighbors or 1.0)

    def fitted(self, avg_num_neighbors: float) -> Self:
        """Return the configuration with the mean number of neighbors, unless it is given."""
        if self.avg_num_neighbors is not None or avg_num_neighbors <= 0:
            return self
        return self.model_copy(update={"avg_num_neighbors": avg_num_neighbors})
