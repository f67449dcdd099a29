"""Optimizers, learning-rate schedules and the average of the weights, from the configuration.

Every optimizer here multiplies its update by the learning rate last, so the plateau schedule
(`plateau`) is one more factor on the update.
"""

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree, Shaped

from tensornet_jax.train.config.optimizer import (
    CosineSchedule,
    ExponentialSchedule,
    OptimizerConfig,
)
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups

EVERYTHING_ALIKE = ParameterGroups()


def learning_rate_schedule(
    config: OptimizerConfig, num_steps: int, steps_per_epoch: int
) -> optax.Schedule:
    """Return the learning rate as a function of the number of updates made.

    The plateau schedule is constant here; its factor comes from `plateau.Plateau`.

    Args:
        config: the optimizer section; schedules are configured in epochs.
        num_steps: updates in the whole run.
        steps_per_epoch: updates in one epoch.
    """
    schedule, peak = config.schedule, config.learning_rate
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), num_steps)
    if isinstance(schedule, CosineSchedule):
        after = optax.cosine_decay_schedule(
            peak, max(num_steps - warmup, 1), schedule.final_fraction
        )
    elif isinstance(schedule, ExponentialSchedule):
        after = optax.exponential_decay(
            peak,
            transition_steps=max(round(schedule.decay_epochs * steps_per_epoch), 1),
            decay_rate=schedule.decay_rate,
            end_value=peak * schedule.final_fraction,
        )
    else:
        after = optax.constant_schedule(peak)
    if warmup == 0:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def is_weight_matrix(path: str, leaf: Shaped[Array, "..."], tables: Collection[str] = ()) -> bool:
    """Return whether a parameter is a weight matrix, or a stack of them.

    Biases, the scale and offset of normalization layers and the parameters of radial functions have
    one axis; of a table of rows (`tables.tables_of`) a batch touches only some. None of these are
    decayed, nor orthogonalized by Muon.
    """
    return leaf.ndim >= 2 and path not in tables


def make_optimizer(
    config: OptimizerConfig,
    schedule: optax.Schedule,
    groups: ParameterGroups = EVERYTHING_ALIKE,
    tables: Collection[str] = (),
) -> optax.GradientTransformation:
    """Return gradient clipping followed by the configured optimizer.

    adamw and adam agree with torch's for equal settings. amsgrad keeps the largest bias-corrected
    second moment (torch corrects the largest uncorrected one). muon orthogonalizes the update of
    each two-dimensional weight matrix, scaled to the size of Adam's updates so that one learning
    rate serves both (arXiv:2502.16982), and leaves the other parameters to Adam with Nesterov
    momentum. Weight decay is decoupled, times the learning rate, and acts on weight matrices only
    (`is_weight_matrix`). Learning rates of single parameters, weight decay included, are multiples
    of the schedule's.

    Args:
        config: the optimizer section.
        schedule: learning rate by number of updates.
        groups: factors on the learning rate; the frozen parameters are not to be given at all.
        tables: paths of parameters that are tables of rows.

    References:
        Adam: arXiv:1412.6980; AdamW: arXiv:1711.05101; AMSGrad: arXiv:1904.09237;
        Muon: https://kellerjordan.github.io/posts/muon.
    """
    rule = _update_rule(config, schedule, tables)
    if groups.factors:
        rule = optax.chain(rule, groups.scaling())
    if config.clip_norm is None:
        return rule
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def _update_rule(
    config: OptimizerConfig, schedule: optax.Schedule, tables: Collection[str]
) -> optax.GradientTransformation:
    beta1, beta2 = config.betas

    def matrices(params: PyTree) -> PyTree[bool]:
        return _by_matrix(params, tables, lambda _, matrix: matrix)

    def dimensions(params: PyTree) -> PyTree:
        numbers = optax.contrib.MuonDimensionNumbers()
        return _by_matrix(
            params, tables, lambda leaf, matrix: numbers if matrix and leaf.ndim == 2 else None
        )

    if config.name == "adam":
        return optax.adam(schedule, b1=beta1, b2=beta2, eps=config.epsilon)
    if config.name == "amsgrad":
        return optax.amsgrad(schedule, b1=beta1, b2=beta2, eps=config.epsilon)
    if config.name == "adamw":
        return optax.adamw(
            schedule,
            b1=beta1,
            b2=beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=matrices,
        )
    return optax.contrib.muon(
        schedule,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        adam_b1=beta1,
        adam_b2=beta2,
        adam_weight_decay=0.0,
        muon_weight_dimension_numbers=dimensions,
        consistent_rms=0.2,
    )


def _by_matrix(
    params: PyTree,
    tables: Collection[str],
    value: Callable[[Shaped[Array, "..."], bool], object],
) -> PyTree:
    def of(path: jax.tree_util.KeyPath, leaf: Shaped[Array, "..."]) -> object:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return value(leaf, is_weight_matrix(name, leaf, tables))

    # optax masks some parameters in between: those are no leaves.
    return jax.tree_util.tree_map_with_path(of, params)


def update_average(average: PyTree, params: PyTree, count: Int[Array, ""], decay: float) -> PyTree:
    """Return the exponential moving average of the parameters after one more update.

    The decay starts small, min(decay, (1 + t) / (10 + t)), so that the random initial weights do
    not linger in the average of a short run.

    Args:
        average: the average so far.
        params: the new parameters.
        count: t, the number of updates made before this one.
        decay: the decay in the long run.
    """
    effective = jnp.minimum(decay, (1.0 + count) / (10.0 + count))

    def mix(old: Shaped[Array, "..."], new: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        return old + (1.0 - effective).astype(new.dtype) * (new - old)

    return jax.tree.map(mix, average, params)
