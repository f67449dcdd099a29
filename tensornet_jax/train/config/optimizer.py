"""The optimizer section of a training run: rule, learning rates and their schedules."""

from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from tensornet_jax.config import Config


class ConstantSchedule(Config):
    """The learning rate stays as it is, after an optional linear warm-up."""

    name: Literal["constant"] = Field(default="constant", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )


class CosineSchedule(Config):
    """Linear warm-up, then half a cosine down to `final_fraction` at the last epoch."""

    name: Literal["cosine"] = Field(default="cosine", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )
    final_fraction: float = Field(
        default=0.01, ge=0, le=1, description="last learning rate ÷ learning_rate"
    )


class ExponentialSchedule(Config):
    """Linear warm-up, then a factor of `decay_rate` every `decay_epochs`, smoothly."""

    name: Literal["exponential"] = Field(default="exponential", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )
    decay_rate: float = Field(default=0.5, gt=0, lt=1, description="factor per decay_epochs")
    decay_epochs: float = Field(default=100.0, gt=0, description="epochs per factor of decay_rate")
    final_fraction: float = Field(
        default=0.0, ge=0, le=1, description="learning rate never below this × learning_rate"
    )


class PlateauSchedule(Config):
    """Linear warm-up; lowered whenever the validation loss has stopped improving."""

    name: Literal["plateau"] = Field(default="plateau", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )
    factor: float = Field(default=0.5, gt=0, lt=1, description="factor of each reduction")
    patience: int = Field(
        default=15, ge=1, description="validations without improvement before a reduction"
    )
    final_fraction: float = Field(
        default=0.001, ge=0, le=1, description="learning rate never below this × learning_rate"
    )


Schedule = Annotated[
    ConstantSchedule | CosineSchedule | ExponentialSchedule | PlateauSchedule,
    Field(discriminator="name"),
]


class OptimizerConfig(Config):
    """How the parameters are moved."""

    name: Literal["adamw", "adam", "amsgrad", "muon"] = Field(
        default="adamw", description="adamw, adam, amsgrad or muon"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="highest learning rate")
    weight_decay: float = Field(
        default=0.0, ge=0, description="decoupled weight decay per step; adamw and muon only"
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.999), description="decay of the gradient's first and second moment"
    )
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the second moment")
    schedule: Schedule = Field(
        default=CosineSchedule(),
        description="learning rate over time: constant, cosine, exponential or plateau",
    )
    clip_norm: float | None = Field(
        default=10.0, gt=0, description="largest norm of the whole gradient; null: no clipping"
    )
    ema_decay: float | None = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay per step of the averaged weights that are validated and saved; "
        "null: no averaging",
    )

    frozen: tuple[str, ...] = Field(
        default=(),
        description='parameters that stay as they are: paths or patterns such as "embedding" or '
        '"layers_*"; tensornet-jax inspect MODEL --parameters lists them',
    )
    learning_rates: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description='factors on the learning rate by path or pattern, such as {"readouts_*": 3.0}; '
        "of several that match, the last counts",
    )

    @pydantic.field_validator("betas")
    @classmethod
    def _check_betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"both betas lie in [0, 1), not {value}")
        return value

    @pydantic.model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.weight_decay and self.name in ("adam", "amsgrad"):
            raise ValueError(
                f"{self.name} has no weight decay: use name: adamw, or remove weight_decay"
            )
        return self
