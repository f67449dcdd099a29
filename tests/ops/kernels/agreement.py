"""Kernels, interpreted, against the plain forms: values, first and second derivatives."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tensornet_jax.ops.kernels.choice import KernelMode, use_kernels
from tests.builders import UNOPTIMIZED


def check_kernels(function: Callable[..., Any], *arrays: Any, tolerance: float) -> None:
    """Check value and first derivatives with kernels, interpreted, against those without.

    Args:
        function: of trees of floating-point arrays, to a tree.
        arrays: where to compare.
        tolerance: relative to the largest number of each array.
    """

    def both(*arrays: Any) -> Any:
        return function(*arrays), _gradients(function, *arrays)

    _compare(both, arrays, "interpret", tolerance)


def check_rules(function: Callable[..., Any], *arrays: Any, tolerance: float = 1e-12) -> None:
    """Check first and second derivatives by the rules of kernels against JAX's own.

    The rules are those that kernels have, and what they call are the plain forms: interpreted
    kernels would take minutes to compile to second order.

    Args:
        function: of trees of floating-point arrays, to a tree.
        arrays: where to compare.
        tolerance: relative to the largest number of each array.
    """

    def everything(*arrays: Any) -> Any:
        first = partial(_gradients, function)
        return first(*arrays), _gradients(first, *arrays)

    _compare(everything, arrays, "on", tolerance)


def _gradients(function: Callable[..., Any], *arrays: Any) -> Any:
    """Return the gradients of a number that weighs all that a function gives."""

    def weighted(*arrays: Any) -> jax.Array:
        leaves = jax.tree.leaves(function(*arrays))
        weights = (jnp.cos(jnp.arange(x.size).reshape(x.shape)) for x in leaves)
        return jnp.sum(jnp.stack([jnp.sum(w * x**2) for w, x in zip(weights, leaves, strict=True)]))

    return jax.grad(weighted, tuple(range(len(arrays))))(*arrays)


def _compare(
    function: Callable[..., Any], arrays: tuple[Any, ...], mode: KernelMode, tolerance: float
) -> None:
    found, expected = in_modes((mode, "off"), function, *arrays)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def in_both_forms(function: Callable[..., Any], *arrays: Any) -> list[list[Any]]:
    """Return the arrays that a function gives with kernels, interpreted, and those without."""
    return list(map(jax.tree.leaves, in_modes(("interpret", "off"), function, *arrays)))


def in_modes(modes: Sequence[KernelMode], function: Callable[..., Any], *arrays: Any) -> list[Any]:
    """Return what a function gives in each of some modes, compiled without optimizing."""
    results = []
    for mode in modes:
        with use_kernels(mode):
            # Of each mode a function of its own: it runs once in each.
            run = jax.jit(lambda *each: function(*each), compiler_options=UNOPTIMIZED)
            results.append(run(*arrays))
    return results
