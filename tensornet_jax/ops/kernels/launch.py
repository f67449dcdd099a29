"""How the programs of a kernel are launched, everywhere the same."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
from jax import Array
from jaxtyping import PyTree

# References to arrays in the memory of the GPU, which have no type of their own.
Ref: TypeAlias = Any


def launch(
    program: Callable[..., None],
    shapes: PyTree[jax.ShapeDtypeStruct],
    grid: tuple[int, ...],
    *,
    num_warps: int,
    interpret: bool,
    name: str,
) -> Callable[..., PyTree[Array]]:
    """Return a function of arrays that runs a program everywhere on a grid.

    Args:
        program: reads and writes references to whole arrays, those that come in and those that go
            out. Arrays within it have powers of two for sizes.
        shapes: tree of shapes and types of what comes out.
        grid: how many programs along each axis.
        num_warps: threads of a program, by 32.
        interpret: run it step by step in plain JAX.
        name: of the kernel, for profiles.
    """
    # Half a second of imports, for those who run kernels.
    import jax.experimental.pallas as pl
    import jax.experimental.pallas.triton as plgpu

    return pl.pallas_call(
        program,
        out_shape=shapes,
        grid=grid,
        compiler_params=plgpu.CompilerParams(num_warps=num_warps, num_stages=1),
        interpret=interpret,
        name=name,
    )
