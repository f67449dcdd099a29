"""Optimizers against formulas written out in numpy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tensornet_jax.train.config.optimizer import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    OptimizerConfig,
)
from tensornet_jax.train.optimization.optimizer import (
    learning_rate_schedule,
    make_optimizer,
    update_average,
)

pytestmark = pytest.mark.usefixtures("x64")


TABLES = {"elements/embedding"}


def config(**changes) -> OptimizerConfig:
    settings = {"schedule": ConstantSchedule(), "clip_norm": None, "learning_rate": 1e-2}
    return OptimizerConfig(**{**settings, **changes})


def parameters() -> dict:
    rng = np.random.default_rng(0)
    return {
        "layer": {"kernel": rng.normal(size=(4, 3)), "bias": rng.normal(size=3)},
        "stack": {"kernel": rng.normal(size=(3, 2, 2))},
        "elements": {"embedding": rng.normal(size=(5, 4))},
    }


def gradients(step: int) -> dict:
    rng = np.random.default_rng(100 + step)
    return jax.tree.map(lambda p: rng.normal(size=p.shape), parameters())


def updates_of(optimizer: optax.GradientTransformation) -> tuple[Any, Any]:
    """Return the first update of the parameters, and the state after it."""
    params = jax.tree.map(jnp.asarray, parameters())
    return optimizer.update(gradients(0), optimizer.init(params), params)


def rates(schedule: optax.Schedule, *steps: int) -> list[float]:
    return [float(jnp.asarray(schedule(step))) for step in steps]


def optimized(settings: OptimizerConfig, num_steps: int) -> Any:
    schedule = learning_rate_schedule(settings, num_steps, 1)
    optimizer = make_optimizer(settings, schedule, tables=TABLES)
    params = jax.tree.map(jnp.asarray, parameters())
    state = optimizer.init(params)
    for step in range(num_steps):
        updates, state = optimizer.update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    return params


def adamw_by_hand(name: str, value: np.ndarray, num_steps: int, rate: float, decay: float):
    """torch.optim.AdamW, one parameter: decay first, then Adam with bias correction."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    first, second = np.zeros_like(value), np.zeros_like(value)
    for step in range(num_steps):
        top, leaf = name.split("/")
        gradient = gradients(step)[top][leaf]
        value = value * (1 - rate * decay)
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        first_hat = first / (1 - beta1 ** (step + 1))
        second_hat = second / (1 - beta2 ** (step + 1))
        value = value - rate * first_hat / (np.sqrt(second_hat) + epsilon)
    return value


def test_adamw_with_default_settings_is_torch_adamw():
    found = optimized(config(name="adamw"), 10)
    for name in ("layer/kernel", "layer/bias"):
        top, leaf = name.split("/")
        expected = adamw_by_hand(name, parameters()[top][leaf], 10, 1e-2, 0.0)
        np.testing.assert_allclose(found[top][leaf], expected, rtol=1e-12)


def test_weight_decay_acts_on_weight_matrices_only():
    found = optimized(config(name="adamw", weight_decay=0.1), 10)
    decays = {"layer/kernel": 0.1, "stack/kernel": 0.1, "layer/bias": 0, "elements/embedding": 0}
    for name, decay in decays.items():
        top, leaf = name.split("/")
        expected = adamw_by_hand(name, parameters()[top][leaf], 10, 1e-2, decay)
        np.testing.assert_allclose(found[top][leaf], expected, rtol=1e-12, err_msg=name)


def test_adam_is_adamw_without_decay():
    for a, b in zip(
        jax.tree.leaves(optimized(config(name="adam"), 5)),
        jax.tree.leaves(optimized(config(name="adamw"), 5)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_amsgrad_never_lets_its_second_moment_fall():
    optimizer = make_optimizer(config(name="amsgrad"), optax.constant_schedule(1.0))
    params = {"w": jnp.zeros(1)}
    state = optimizer.init(params)
    _, state = optimizer.update({"w": jnp.full(1, 100.0)}, state, params)
    updates: Any = None
    for _ in range(200):
        updates, state = optimizer.update({"w": jnp.full(1, 1.0)}, state, params)
    # Adam would have forgotten the large gradient down to |update| of about 0.2.
    assert abs(float(updates["w"][0])) < 0.02


def test_muon_orthogonalizes_two_dimensional_weights_only():
    settings = config(name="muon")
    updates, _ = updates_of(make_optimizer(settings, optax.constant_schedule(1.0), tables=TABLES))
    singular = np.linalg.svd(updates["layer"]["kernel"], compute_uv=False)
    assert singular.max() / singular.min() < 2.5
    # The first update of Adam with Nesterov momentum has the same size everywhere.
    size = 0.9 * 0.1 / (1 - 0.9**2) + 1.0
    for top, leaf in (("layer", "bias"), ("stack", "kernel"), ("elements", "embedding")):
        np.testing.assert_allclose(np.abs(updates[top][leaf]), size, rtol=1e-3)


def test_clipping_bounds_the_norm_of_the_whole_gradient():
    optimizer = make_optimizer(config(clip_norm=1.0, name="adam"), optax.constant_schedule(1.0))
    _, state = updates_of(optimizer)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    first = moments[: len(moments) // 2]
    norm = np.sqrt(sum(float((m**2).sum()) for m in first)) / (1 - 0.9)
    np.testing.assert_allclose(norm, 1.0, rtol=1e-12)


def test_cosine_rises_over_the_warm_up_and_ends_at_its_fraction():
    schedule = CosineSchedule(warmup_epochs=2, final_fraction=0.1)
    rate = learning_rate_schedule(config(schedule=schedule, learning_rate=1e-3), 100, 10)
    np.testing.assert_allclose(rates(rate, 0, 10, 20), [0, 5e-4, 1e-3], rtol=1e-12)
    np.testing.assert_allclose(rates(rate, 60, 100), [5.5e-4, 1e-4], rtol=1e-12)


def test_exponential_decays_by_its_rate_down_to_its_floor():
    schedule = ExponentialSchedule(decay_rate=0.5, decay_epochs=3, final_fraction=0.2)
    rate = learning_rate_schedule(config(schedule=schedule, learning_rate=1.0), 1000, 10)
    np.testing.assert_allclose(rates(rate, 0, 30, 60), [1, 0.5, 0.25], rtol=1e-12)
    np.testing.assert_allclose(rates(rate, 900), 0.2, rtol=1e-12)


def test_the_average_forgets_its_start_and_then_moves_with_its_decay():
    average, decay = {"w": jnp.asarray(100.0)}, 0.99
    for t in range(3):
        before = float(average["w"])
        average = update_average(average, {"w": jnp.asarray(1.0)}, jnp.asarray(t), decay)
        d = (1 + t) / (10 + t)
        np.testing.assert_allclose(average["w"], d * before + (1 - d) * 1.0, rtol=1e-12)
    late = update_average({"w": jnp.asarray(2.0)}, {"w": jnp.asarray(1.0)}, jnp.asarray(5000), 0.99)
    np.testing.assert_allclose(late["w"], 1.99, rtol=1e-12)


def test_the_average_keeps_the_precision_of_the_parameters():
    single = {"w": jnp.ones(2, jnp.float32)}
    assert update_average(single, single, jnp.asarray(3), 0.9)["w"].dtype == jnp.float32
