"""Splines: what they reproduce, and how smooth they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.spline import evaluate_spline, fit_spline

pytestmark = pytest.mark.usefixtures("x64")

LENGTH = 4.5


def table_of(functions, intervals: int = 200) -> jnp.ndarray:
    places = np.linspace(0, LENGTH, 4 * intervals + 1)
    return jnp.asarray(fit_spline(places, functions(places), LENGTH, intervals))


def test_cubics_are_reproduced_exactly_with_their_derivatives():
    table = table_of(lambda x: np.stack([x**3 - 2 * x**2, 0 * x + 1], axis=1), intervals=7)
    x = jnp.asarray(np.random.default_rng(0).uniform(0, LENGTH, 50))

    def value(x, k):
        return evaluate_spline(table, x[None], LENGTH)[0, k]

    np.testing.assert_allclose(jax.vmap(lambda x: value(x, 0))(x), x**3 - 2 * x**2, atol=1e-11)
    np.testing.assert_allclose(
        jax.vmap(jax.grad(lambda x: value(x, 0)))(x), 3 * x**2 - 4 * x, atol=1e-10
    )
    curvature = jax.vmap(jax.grad(jax.grad(lambda x: value(x, 0))))(x)
    np.testing.assert_allclose(curvature, 6 * x - 4, atol=1e-9)
    np.testing.assert_allclose(jax.vmap(lambda x: value(x, 1))(x), 1, atol=1e-12)


def test_the_error_falls_with_the_fourth_power_of_the_intervals():
    def functions(x):
        return np.exp(-x)[:, None] * np.sin(3 * x)[:, None]

    x = np.random.default_rng(0).uniform(0, LENGTH, 500)
    errors = []
    for intervals in (50, 100):
        found = evaluate_spline(table_of(functions, intervals), jnp.asarray(x), LENGTH)
        errors.append(np.abs(found - functions(x)).max())
    assert 12 < errors[0] / errors[1] < 20


def test_second_derivative_is_continuous_at_the_knots():
    table = table_of(lambda x: np.cos(x)[:, None] ** 3, intervals=10)
    curvature = jax.vmap(
        jax.grad(jax.grad(lambda x: evaluate_spline(table, x[None], LENGTH)[0, 0]))
    )
    knots = LENGTH / 10 * np.arange(1, 10)
    step = 1e-9
    below, above = (np.asarray(curvature(jnp.asarray(knots + s))) for s in (-step, step))
    np.testing.assert_allclose(below, above, atol=1e-6)


def test_it_is_zero_outside_with_zero_slope():
    table = table_of(lambda x: np.cos(x)[:, None])
    outside = jnp.array([-1e-9, LENGTH, LENGTH + 3, 1e9])
    assert not np.any(evaluate_spline(table, outside, LENGTH))
    slope = jax.vmap(jax.grad(lambda x: evaluate_spline(table, x[None], LENGTH)[0, 0]))
    assert not np.any(slope(outside))


def test_slopes_keep_their_digits_in_float32_where_intervals_are_short():
    table = table_of(lambda x: np.cos(x)[:, None], intervals=8192)

    def slopes(dtype):
        single, places = jnp.asarray(table, dtype), jnp.asarray(np.linspace(0.5, 4, 300), dtype)
        return jax.vmap(jax.grad(lambda x: evaluate_spline(single, x[None], LENGTH)[0, 0]))(places)

    np.testing.assert_allclose(slopes("float32"), slopes("float64"), atol=2e-6)


def test_each_place_is_looked_up_in_its_own_table():
    tables = [table_of(lambda x, k=k: np.cos(k * x)[:, None], intervals=50) for k in (1, 2, 3)]
    x = jnp.asarray(np.random.default_rng(0).uniform(-0.5, LENGTH + 0.5, 60))
    which = jnp.arange(60) % 3
    found = evaluate_spline(jnp.concatenate(tables), x, LENGTH, (which, 3))
    alone = jnp.stack([evaluate_spline(table, x, LENGTH) for table in tables])
    np.testing.assert_array_equal(found, alone[which, jnp.arange(60)])
