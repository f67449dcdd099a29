"""Everything a training step changes, as one pytree."""

from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from tensornet_jax.train.optimization.optimizer import EVERYTHING_ALIKE
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """State of the optimization on the device.

    No random numbers are drawn in a step: batches are ordered on the host and models have no
    dropout.

    Attributes:
        step: int32, batches seen, skipped ones included.
        skipped: int32, batches whose loss or gradient was not finite.
        params: all parameters, frozen ones too.
        averaged: exponential moving average of the parameters; None without averaging.
        optimizer: optax state, without entries for frozen parameters; its own counters are
            updates made, step − skipped.
    """

    step: Int[Array, ""]
    skipped: Int[Array, ""]
    params: PyTree
    averaged: PyTree | None
    optimizer: optax.OptState

    @classmethod
    def create(
        cls,
        params: PyTree,
        optimizer: optax.GradientTransformation,
        *,
        averaging: bool,
        groups: ParameterGroups = EVERYTHING_ALIKE,
    ) -> Self:
        """Return the state before the first step; the arrays are copies of `params`."""
        params = jax.tree.map(jnp.array, params)
        return cls(
            step=jnp.zeros((), jnp.int32),
            skipped=jnp.zeros((), jnp.int32),
            params=params,
            averaged=jax.tree.map(jnp.array, params) if averaging else None,
            optimizer=optimizer.init(groups.trained(params)),
        )

    @property
    def evaluated(self) -> PyTree:
        """The parameters to validate and save: the average where there is one."""
        return self.params if self.averaged is None else self.averaged
