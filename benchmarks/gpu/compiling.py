"""Compile for a GPU on a machine that has none.

XLA needs the description of a GPU, not the GPU. What comes back is the program that would run, its
kernels, those in Triton included, and its plan of memory; nothing can be run.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol
from unittest import mock

import jax
import numpy as np
from jax.experimental import pallas, topologies

from .devices import Device

PLUGIN = "jax_cuda12_plugin"
# Tuning runs kernels, for which there is no device. Untuned, Triton's matrix products do not
# compile at some shapes; cuBLAS is what large ones are tuned to anyway.
FLAGS = ("--xla_gpu_autotune_level=0", "--xla_gpu_enable_triton_gemm=false")
# Without it, calls of what nobody has registered are errors.
PLACEHOLDERS = "--xla_gpu_mock_custom_calls=true"


class MissingCompilerError(Exception):
    """XLA's compiler for NVIDIA GPUs is not installed."""


class Jitted(Protocol):
    """What `jax.jit` returns, as far as it is asked for here."""

    def lower(self, *arguments: object, **named: object) -> jax.stages.Lowered:
        """Lower for arguments of these shapes."""
        ...


def prepare(*, placeholders: bool = False) -> None:
    """Let this process compile for GPUs; before JAX is asked for anything.

    Args:
        placeholders: let it compile programs with `placeholders`, too.

    Raises:
        MissingCompilerError: it has no compiler for them.
    """
    if find_spec(PLUGIN) is None:
        raise MissingCompilerError(
            "compiling for a GPU needs XLA's compiler for CUDA, about 5 GB with NVIDIA's libraries "
            "and no GPU: in an environment of its own, "
            f'pip install "jax[cuda12]=={jax.__version__}" and this package'
        )
    flags = (*FLAGS, PLACEHOLDERS) if placeholders else FLAGS
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])
    jax.config.update("jax_platforms", "cpu,cuda")


@contextmanager
def as_on_gpu() -> Iterator[None]:
    """Return a scope in which code that asks for the backend is told that it is a GPU."""
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        yield


@contextmanager
def placeholders() -> Iterator[None]:
    """Return a scope in which kernels written by hand are calls without code.

    XLA then does all that it does around them, and counts are those with code. Only what the code
    itself needs, which compiles for minutes, is not known.
    """

    def call(*_: object, out_shape: Any, name: str, **__: object) -> Callable[..., object]:
        return jax.ffi.ffi_call(f"placeholder_of_{name}", out_shape)

    with mock.patch.object(pallas, "pallas_call", call):
        yield


def compile_for(
    device: Device, function: Jitted, *arguments: object, **named: object
) -> jax.stages.Compiled:
    """Return the program of a jitted function.

    Args:
        device: the GPU.
        function: as `jax.jit` returns it.
        arguments: arrays, or their shapes and dtypes; what is no array is passed on.
        named: the same.
    """
    mesh = _mesh(device)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def placed(leaf: object) -> object:
        if isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        return leaf

    arguments, named = jax.tree.map(placed, (arguments, named))
    # From jax 0.12 on Pallas takes the device to lower for from here.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return function.lower(*arguments, **named).compile()


@cache
def _mesh(device: Device) -> jax.sharding.Mesh:
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=device.target, topology="1x1x1"
    )
    return topologies.make_mesh(topology, (1,), ("device",))
