"""Which form runs, and that a compiled function of one mode does not serve another."""

import jax
import jax.numpy as jnp
import pytest

from tensornet_jax.ops.kernels.choice import VARIABLE, KernelMode, choose, kernel_mode, use_kernels


def plain(x):
    return x + 1


def kernel(x, *, interpret):
    return x + (10 if interpret else 100)


@jax.jit
def chosen(x):
    return choose(kernel, plain, x, fits=True)


def test_the_plain_form_runs_where_there_is_no_gpu():
    assert float(chosen(0.0)) == 1
    assert "100" not in str(jax.jit(chosen).trace(0.0).jaxpr)
    with use_kernels("on"):
        assert float(chosen(0.0)) == 1
        assert "100" in str(jax.jit(chosen).trace(0.0).jaxpr)


def test_modes_hold_within_their_scope_also_for_compiled_functions():
    modes: list[tuple[KernelMode, int]] = [("interpret", 10), ("off", 1), ("auto", 1)]
    for mode, expected in (*modes, *modes):
        with use_kernels(mode):
            assert kernel_mode() == mode
            assert float(chosen(jnp.zeros(()))) == expected
    assert kernel_mode() == "auto"


def test_the_environment_says_it_too(monkeypatch):
    monkeypatch.setenv(VARIABLE, "interpret")
    assert float(jax.jit(lambda x: choose(kernel, plain, x, fits=True))(0.0)) == 10
    assert float(jax.jit(lambda x: choose(kernel, plain, x, fits=False))(0.0)) == 1
    with use_kernels("off"):
        assert kernel_mode() == "off"


def test_an_unknown_mode_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="auto, on, off, interpret"):
        use_kernels("yes")  # type: ignore[arg-type]
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(ValueError, match=f"{VARIABLE} 'yes'"):
        kernel_mode()
