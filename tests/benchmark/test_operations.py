"""Operations are counted as theory has them, loops multiplied out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.benchmark.measure import compile_work
from tensornet_jax.benchmark.operations import count_operations

A, B = jnp.ones((64, 32)), jnp.ones((32, 16))


def test_a_matrix_product_and_its_gradient():
    found = count_operations(lambda a, b: a @ b, A, B)
    assert found.flops == 2 * 64 * 32 * 16
    # Once as factors and result of the product, once as arguments and result of the whole.
    assert found.bytes_accessed == 2 * 4 * (A.size + B.size + 64 * 16)
    both = count_operations(jax.grad(lambda a, b: jnp.sum(a @ b), argnums=(0, 1)), A, B)
    assert both.flops == pytest.approx(3 * found.flops, rel=0.05)


def test_a_loop_costs_its_body_times_its_rounds_where_xla_counts_it_once():
    square = jnp.ones((16, 16))

    def repeated(x):
        return jax.lax.scan(lambda total, _: (total @ x, None), x, None, length=10)[0]

    assert count_operations(repeated, square).flops == 10 * 2 * 16**3
    assert compile_work(repeated, square).flops == pytest.approx(2 * 16**3, rel=0.01)


def test_of_branches_the_one_of_most_operations_counts():
    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x + 1, x)

    assert count_operations(either, jnp.ones((8, 8))).flops == 2 * 8**3


def test_gathered_rows_are_traffic_and_arithmetic_is_not():
    table, rows = jnp.ones((100, 8)), jnp.array([3, 1, 4])
    whole = count_operations(lambda t, r: jnp.sin(t[r]) + 1, table, rows)
    outside = table.nbytes + rows.nbytes + 3 * 8 * 4
    assert whole.bytes_accessed == outside + 3 * 8 * 4
    assert whole.flops == 2 * 3 * 8


def test_without_loops_it_is_the_count_of_xla():
    def network(x, w):
        return jnp.sum(jnp.tanh(x @ w) ** 2)

    x, w = (jnp.asarray(np.random.default_rng(0).normal(size=s)) for s in ((50, 40), (40, 30)))
    gradient = jax.value_and_grad(network, argnums=1)
    counted = count_operations(gradient, x, w).flops
    assert counted == pytest.approx(compile_work(gradient, x, w).flops, rel=0.1)


def test_a_loop_without_known_end_is_refused():
    def halved(x):
        return jax.lax.while_loop(lambda x: x > 1, lambda x: x / 2, x)

    with pytest.raises(ValueError, match="rounds is not known"):
        count_operations(halved, jnp.float32(8))
