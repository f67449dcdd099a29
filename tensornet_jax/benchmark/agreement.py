"""Whether a contender computes what it claims: numbers first, times after."""

import numpy as np
from jax import Array

from tensornet_jax.benchmark.cases import Case, Task
from tensornet_jax.benchmark.measure import Work

# relative to the largest number of the output
AGREEMENT = {"float32": 1e-5, "float64": 1e-12}
CHECKED_SAMPLES = 8


def check_agreement(
    case: Case, task: Task, work: Work, features: tuple[np.ndarray, np.ndarray]
) -> float:
    """Return the error of a program's output; raise ValueError where it computes something else.

    The reference is the contraction in float64 with the coefficients that the task claims. Of
    gradients it is checked that Σ g_x · x = Σ g_y · y = Σ cotangent · z in every sample, which
    holds for a bilinear map in any layout.
    """
    first, second, third = case.degrees
    if not task.paths or not np.any(task.coefficients):
        raise ValueError("the output is empty: no path leads to it")
    if task.coefficients.shape != (first.size, second.size, third.size):
        raise ValueError(f"coefficients {task.coefficients.shape} are not those of {case}")
    tolerance = AGREEMENT[case.dtype]
    result = work()
    z = result[0] if isinstance(result, tuple) else result
    if z.dtype != case.dtype:
        raise ValueError(f"computes in {z.dtype} where {case.dtype} was asked for")
    few = slice(None, CHECKED_SAMPLES)
    x, y = (values[few].astype(np.float64) for values in features)
    expected = np.einsum("abc,nia,nib->nic", task.coefficients, x, y, optimize=True)
    found = np.asarray(task.from_own(z[few]))
    if found.shape != expected.shape:
        raise ValueError(f"gives an output of shape {found.shape}, not {expected.shape}")
    error = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
    if not error <= tolerance:
        raise ValueError(f"computes something else: off by {error:.1e} of the largest number")
    if isinstance(result, tuple):
        _check_gradients(result, work, tolerance)
    return error


def _check_gradients(result: tuple[Array, Array, Array], work: Work, tolerance: float) -> None:
    x, y, cotangent = work.arguments[:3]
    z, gradient_x, gradient_y = result
    value, scale = _dot(cotangent, z)
    for name, gradient, features in (("x", gradient_x, x), ("y", gradient_y, y)):
        error = np.max(np.abs(_dot(gradient, features)[0] - value) / scale)
        if not error <= tolerance:
            raise ValueError(f"the gradient with respect to {name} is wrong, off by {error:.1e}")


def _dot(a: Array, b: Array) -> tuple[np.ndarray, np.ndarray]:
    """Inner products and products of norms of the first samples, in float64."""
    first, second = (
        np.asarray(v[:CHECKED_SAMPLES], np.float64).reshape(min(len(v), CHECKED_SAMPLES), -1)
        for v in (a, b)
    )
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.sum(first * second, axis=1), norms
