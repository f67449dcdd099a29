"""Timing counts what it says it counts."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.benchmark.machine import (
    Peaks,
    describe_machine,
    installed_versions,
    machine_name,
    measure_peaks,
    roofline,
)
from tensornet_jax.benchmark.measure import alternate, compile_work


def test_compiling_is_timed_apart_and_runs_nothing():
    calls = []

    def slow_to_trace(x):
        calls.append(x)
        time.sleep(0.2)
        return x + 1

    work = compile_work(slow_to_trace, jnp.zeros(3))
    [timing] = alternate([work], seconds=0.01, fewest=5)
    assert work.compile_s > 0.2
    assert timing.minimum_s <= timing.median_s < 0.05
    assert len(calls) == 1
    np.testing.assert_array_equal(work(), [1.0, 1.0, 1.0])


def test_operations_of_a_matrix_product_are_those_of_theory():
    work = compile_work(lambda a, b: a @ b, jnp.ones((64, 32)), jnp.ones((32, 16)))
    assert work.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.01)
    assert work.held_bytes == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def test_contenders_take_turns_and_warm_up_is_not_counted():
    order = []
    sleeps = {"fast": 0.0, "slow": 0.02}

    def contender(name):
        def call():
            # the first call of each is far slower than the others
            time.sleep(sleeps[name] if name in order else 0.3)
            order.append(name)

        return call

    fast, slow = alternate([contender("fast"), contender("slow")], 0.1, fewest=4, most=12)
    assert order[:4] == ["fast", "slow", "fast", "slow"]
    assert (fast.samples, slow.samples) == (12, order.count("slow") - 2)
    assert slow.samples in (4, 5)
    # samples of the slow one are spread over the run, not bunched at its end
    places = [k for k, name in enumerate(order[4:]) if name == "slow"]
    assert max(np.diff([-1, *places])) <= 6
    assert 0.02 <= slow.minimum_s <= slow.lower_quartile_s <= slow.median_s
    assert slow.median_s <= slow.upper_quartile_s < 0.2


def test_a_time_on_the_roof_is_a_fraction_of_one():
    peaks = Peaks("float32", gemm_flops_per_s=1e9, copy_bytes_per_s=1e8, dispatch_s=0.0)
    work = compile_work(lambda a: a @ a, jnp.ones((100, 100)))
    assert work.flops is not None
    found = roofline(work, work.flops / 1e9, peaks)
    assert found["fraction_of_gemm"] is not None
    assert found["fraction_of_gemm"] == pytest.approx(1.0)
    assert found["fraction_of_copy"] is not None
    assert found["fraction_of_peak"] == max(found["fraction_of_gemm"], found["fraction_of_copy"])
    assert found["bound"] in ("operations", "bandwidth")


def test_peaks_are_those_of_a_machine_and_the_description_is_complete():
    peaks = measure_peaks("float32", gemm_size=128, copy_bytes=2**20)
    assert 1e7 < peaks.gemm_flops_per_s < 1e16
    assert 1e7 < peaks.copy_bytes_per_s < 1e14
    assert 0 < peaks.dispatch_s < 0.1
    machine = describe_machine()
    assert machine["platform"] == "cpu"
    assert machine["threads"] >= 1
    assert machine_name() == f"cpu-{machine['threads']}-cores"
    versions = installed_versions()
    assert {"python", "jax", "jaxlib", "e3nn-jax", "numpy", "tensornet_jax"} <= set(versions)
    assert versions["jax"] is not None
