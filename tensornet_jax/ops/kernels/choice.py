"""Which form of an operation runs: a kernel written by hand, or the plain one that XLA compiles.

Both forms of an operation compute the same function. On NVIDIA GPUs its kernel runs where the
shapes suit it, everywhere else the plain form does. The environment variable
`TENSORNET_JAX_KERNELS`, or `use_kernels` for part of a program, changes that:

    auto       kernels on NVIDIA GPUs, where JAX's default backend is one (default)
    on         kernels on NVIDIA GPUs, also where JAX only compiles for one
    off        the forms that a CPU has, everywhere
    interpret  kernels everywhere, step by step as Pallas interprets them: to check their numbers
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, TypeVar, get_args

import jax
from jax import Array, lax

KernelMode = Literal["auto", "on", "off", "interpret"]

VARIABLE = "TENSORNET_JAX_KERNELS"

_Result = TypeVar("_Result")
# Part of what jit compares, so that a function compiled in one mode does not serve another.
_mode = jax.make_user_context(default_value=None)


def use_kernels(mode: KernelMode) -> AbstractContextManager[None]:
    """Return a scope in which operations are traced with kernels or without.

    Args:
        mode: "auto", "on", "off" or "interpret".

    Raises:
        ValueError: another mode.
    """
    return _mode(_checked(mode, "mode"))


def kernel_mode() -> KernelMode:
    """Return the mode in force.

    Raises:
        ValueError: `TENSORNET_JAX_KERNELS` is none of the modes.
    """
    return _mode.value or _checked(os.environ.get(VARIABLE, "") or "auto", VARIABLE)


def for_gpu(*arrays: Array) -> bool:
    """Tell whether what is traced now is for a GPU, whose programs want other forms than a CPU's.

    Where there are two forms of one function in plain JAX, this decides between them, and whether
    kernels may run. It is not so if a size is a symbol, as in programs to be exported.
    """
    static = all(isinstance(size, int) for array in arrays for size in array.shape)
    mode = kernel_mode()
    return static and (
        mode in ("on", "interpret") or (mode == "auto" and jax.default_backend() == "gpu")
    )


def choose(
    kernel: Callable[..., _Result], plain: Callable[..., _Result], *arguments: object, fits: bool
) -> _Result:
    """Return what an operation gives, in the form that suits the platform.

    Args:
        kernel: the kernel; takes the arguments and `interpret`.
        plain: what XLA compiles.
        arguments: trees of arrays.
        fits: whether the kernel takes these shapes.
    """
    # Where there are CPUs alone, kernels need not be traced to be left out.
    if not (fits and for_gpu()):
        return plain(*arguments)
    if kernel_mode() == "interpret":
        return kernel(*arguments, interpret=True)

    def on_gpu(*arguments: object) -> _Result:
        return kernel(*arguments, interpret=False)

    return lax.platform_dependent(*arguments, cuda=on_gpu, default=plain)


def _checked(mode: str, name: str) -> KernelMode:
    for known in get_args(KernelMode):
        if mode == known:
            return known
    raise ValueError(f"{name} {mode!r}: use one of {', '.join(get_args(KernelMode))}")
