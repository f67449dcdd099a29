"""All that turns batches into updates, put together from the configuration."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import jax
from jaxtyping import PyTree

from tensornet_jax.potential.members import members
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.train.config.run import LossTerm, RunConfig
from tensornet_jax.train.optimization.optimizer import learning_rate_schedule, make_optimizer
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups
from tensornet_jax.train.optimization.state import TrainState
from tensornet_jax.train.optimization.step import CommitteeStep, TrainStep


@dataclass(frozen=True)
class Optimization:
    """The optimization of a potential.

    Attributes:
        step: one step, under jit.
        start: the state before the first step.
        num_trained: numbers that are trained.
    """

    step: TrainStep
    start: TrainState
    num_trained: int

    @classmethod
    def from_config(
        cls,
        config: RunConfig,
        potential: Potential,
        terms: Mapping[str, LossTerm],
        steps_per_epoch: int,
        tables: Collection[str],
        replay_weight: float,
        devices: Devices = ONE_DEVICE,
    ) -> Self:
        """Put the optimization together.

        Args:
            config: the resolved configuration.
            potential: before the first step.
            terms: the loss, by property.
            steps_per_epoch: updates in one epoch.
            tables: paths of parameters that are tables of rows.
            replay_weight: factor on the loss of replayed structures.
            devices: that share every batch.

        Raises:
            ValueError: a pattern of the optimizer section means no parameter.
        """
        params = potential.variables["params"]
        groups = ParameterGroups.from_config(config.optimizer, params)
        num_steps = config.training.epochs * steps_per_epoch
        schedule = learning_rate_schedule(config.optimizer, num_steps, steps_per_epoch)
        optimizer = make_optimizer(config.optimizer, schedule, groups, tables)
        decay = config.optimizer.ema_decay
        about = terms, optimizer, schedule, decay, groups, replay_weight, devices

        def start(params: PyTree) -> TrainState:
            return TrainState.create(params, optimizer, averaging=decay is not None, groups=groups)

        if potential.config.committee:
            step = CommitteeStep(members(potential)[0], *about)
            return cls(step, jax.vmap(start)(params), groups.count(params))
        return cls(TrainStep(potential, *about), start(params), groups.count(params))
