"""One kernel for all that happens between the components of an atom's channels.

Arithmetic that mixes the components of an atom, channel by channel, needs every number once, and
is cheap. XLA makes a kernel for each array that comes out and reads its inputs again for each; here
a function of components is one kernel, and so is its derivative, and the derivative of that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float, PyTree

from tensornet_jax.ops.kernels.channel_blocks import channel_width, kernels_take
from tensornet_jax.ops.kernels.choice import choose
from tensornet_jax.ops.kernels.launch import Ref, launch

Components = tuple[Array, ...]
"""The components of one input or output, each an array over atoms and channels."""

Function = Callable[..., tuple[Components, ...]]
"""Takes the components of each input and returns those of each output, by arithmetic alone."""


@dataclass(frozen=True)
class _Derivative:
    """The function that pulls cotangents of outputs back to inputs.

    function: what is differentiated.
    wanted: which inputs cotangents are asked of.
    given: which outputs have a cotangent; those of the others are zero.
    """

    function: Function
    wanted: tuple[bool, ...]
    given: tuple[bool, ...]

    def __call__(self, *arrays: Components) -> tuple[Components, ...]:
        inputs, cotangents = arrays[: len(self.wanted)], iter(arrays[len(self.wanted) :])

        def of_wanted(*changing: Components) -> tuple[Components, ...]:
            left = iter(changing)
            chosen = (next(left) if w else x for w, x in zip(self.wanted, inputs, strict=True))
            return self.function(*chosen)

        changing = (x for w, x in zip(self.wanted, inputs, strict=True) if w)
        results, pull = jax.vjp(of_wanted, *changing)
        every = (
            next(cotangents) if has_one else tuple(map(jnp.zeros_like, result))
            for has_one, result in zip(self.given, results, strict=True)
        )
        return pull(tuple(every))


def atomwise(
    function: Function, inputs: Sequence[Float[Array, "_ _ _"]], shape: tuple[int, int]
) -> tuple[Float[Array, "atoms _ channels"], ...]:
    """Apply a function to the components of every atom and channel.

    Args:
        function: of one tuple of components for each input, to a tuple of components for each
            output; arithmetic of equal shapes only.
        inputs: (N, D, F) each; 1 in place of N or F is for all atoms or channels.
        shape: N and F.

    Returns:
        (N, D, F) for each output.
    """
    return _atomwise(function, shape, tuple(inputs))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _atomwise(
    function: Function, shape: tuple[int, int], inputs: tuple[Array, ...]
) -> tuple[Array, ...]:
    def plain(*arrays: Array) -> tuple[Array, ...]:
        found = function(*(_components(array, shape) for array in arrays))
        return tuple(jnp.stack(parts, axis=1) for parts in found)

    kernel = partial(_kernel, function, shape)
    return choose(kernel, plain, *inputs, fits=kernels_take(shape[1], *inputs))


def _components(array: Array, shape: tuple[int, int]) -> Components:
    return tuple(jnp.broadcast_to(array[:, c], shape) for c in range(array.shape[1]))


def _kernel(
    function: Function, shape: tuple[int, int], *inputs: Array, interpret: bool
) -> tuple[Array, ...]:
    from jax.experimental import pallas as pl

    num_atoms, width = shape
    block, dtype = channel_width(width, widest=128), inputs[0].dtype
    vector = jax.ShapeDtypeStruct((block,), dtype)
    outputs = jax.eval_shape(function, *((vector,) * x.shape[1] for x in inputs))

    def program(*refs: Ref) -> None:
        atom, channels = pl.program_id(0), pl.ds(pl.program_id(1) * block, block)

        def load(ref: Ref, component: int) -> Array:
            row = atom if ref.shape[0] > 1 else 0
            return jnp.broadcast_to(
                ref[row, component, channels if ref.shape[2] > 1 else 0], (block,)
            )

        given = [tuple(load(ref, c) for c in range(ref.shape[1])) for ref in refs[: len(inputs)]]
        for ref, found in zip(refs[len(inputs) :], function(*given), strict=True):
            for component, values in enumerate(found):
                ref[atom, component, channels] = values

    shapes = [jax.ShapeDtypeStruct((num_atoms, len(out), width), dtype) for out in outputs]
    grid = (num_atoms, width // block)
    call = launch(
        program,
        shapes,
        grid,
        num_warps=max(1, block // 32),
        interpret=interpret,
        name="atomwise",
    )
    return tuple(call(*inputs))


def _forward(function: Function, shape: tuple[int, int], inputs: PyTree) -> PyTree:
    values = tuple(each.value for each in inputs)
    # What nobody differentiates by costs nothing.
    wanted = tuple(each.perturbed for each in inputs)
    return _atomwise(function, shape, values), (values, wanted)


def _backward(
    function: Function,
    shape: tuple[int, int],
    kept: PyTree,
    cotangents: PyTree,
) -> PyTree:
    values, wanted = kept
    given = tuple(not isinstance(each, SymbolicZero) for each in cotangents)
    present = tuple(each for each in cotangents if not isinstance(each, SymbolicZero))
    found = iter(_atomwise(_Derivative(function, wanted, given), shape, (*values, *present)))
    return (
        tuple(
            _summed_to(next(found), value.shape) if w else None
            for w, value in zip(wanted, values, strict=True)
        ),
    )


def _summed_to(cotangent: Array, shape: tuple[int, ...]) -> Array:
    """Sum over atoms or channels where an input was one for all."""
    axes = tuple(a for a, size in enumerate(shape) if size == 1 and cotangent.shape[a] != 1)
    return jnp.sum(cotangent, axis=axes, keepdims=True) if axes else cotangent


_atomwise.defvjp(_forward, _backward, symbolic_zeros=True)
