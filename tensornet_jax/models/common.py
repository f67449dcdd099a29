"""Configuration, initialisers and layers the models share."""

from collections.abc import Callable
from typing import Literal, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.config import NOT_SET_BY_USERS, Config
from tensornet_jax.models.priors import AnyPrior, Coulomb, longest_reach


class Compression(Config):
    """How a potential's radial functions are tabulated; `tensornet_jax.compress` makes it.

    rank: functions that all the model's radial functions are combined from.
    intervals: equal parts of the distance from 0 to the cutoff, each with a cubic of its own.
    """

    rank: int = Field(ge=1)
    intervals: int = Field(ge=4)


class ModelConfig(Config):
    """What the package asks of every model's configuration.

    A model adds a `name`, the same as in ``MODELS``, and its hyperparameters.
    """

    name: str = ""
    cutoff: float = Field(default=5.0, gt=0, description="cutoff radius, Å")
    heads: tuple[Literal["energy", "dipole"], ...] = Field(
        default=("energy",), min_length=1, description="what the model predicts besides derivatives"
    )
    priors: tuple[AnyPrior, ...] = Field(
        default=(),
        description="energies of pairs of atoms that are added to the network's and need not be "
        "learned: zbl, d2, coulomb",
    )

    compression: Compression | None = Field(
        default=None,
        description="left by tensornet-jax compress; null for a model to be trained",
        json_schema_extra=NOT_SET_BY_USERS,
    )

    @model_validator(mode="after")
    def _distinct_heads(self) -> Self:
        if len(set(self.heads)) != len(self.heads):
            raise ValueError(f"heads {list(self.heads)} name one head twice")
        return self

    @property
    def reach(self) -> float:
        """Distance in Å beyond which atoms have no energy together; may be infinite."""
        return longest_reach(self.priors, self.cutoff)

    @property
    def long_cutoff(self) -> float | None:
        """Reach of a second list of pairs in Å, infinite for all; None where none is needed."""
        return self.reach if self.reach > self.cutoff else None

    @property
    def needs_charges(self) -> bool:
        """Whether structures have to bring the charges of their atoms."""
        return any(isinstance(prior, Coulomb) for prior in self.priors)

    @property
    def predicts_charges(self) -> bool:
        """Whether the model has charges of the atoms among its outputs."""
        return False

    def fitted(self, avg_num_neighbors: float) -> Self:
        """Return the configuration with what it leaves to the training data filled in.

        Args:
            avg_num_neighbors: mean number of neighbours of an atom within the cutoff.
        """
        return self


def torch_uniform(fan_in: int) -> Callable[..., Array]:
    """PyTorch's default for Linear weights and biases: uniform in ±1/√fan_in."""

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(fan_in: int, features: int, dtype: str, *, use_bias: bool = True) -> nn.Dense:
    """Return a linear layer with PyTorch's default initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=dtype,
        kernel_init=torch_uniform(fan_in),
        bias_init=torch_uniform(fan_in),
    )


def layer_norm(dtype: str) -> nn.LayerNorm:
    """Layer normalisation with ε = 1e-5, the variance in its numerically exact form."""
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, param_dtype=dtype, use_fast_variance=False)
