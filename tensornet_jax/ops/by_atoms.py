"""What tensors of one atom make of each other, channel by channel, as one operation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PyTree

from tensornet_jax.ops.cartesian import Components, RankTwo
from tensornet_jax.ops.kernels.atomwise import atomwise
from tensornet_jax.ops.kernels.choice import for_gpu
from tensornet_jax.ops.messages.message import split_parts

_SIZES = (1, 3, 5)


def by_atoms(function: Callable[..., PyTree], *inputs: object) -> PyTree:
    """Return what a function makes of tensors and numbers, in one kernel where there are kernels.

    Args:
        function: takes tensors, `RankTwo` or their `Components`, and arrays; mixes components but
            neither atoms nor channels. It returns a result or a list of results: a tensor, an
            array, or a tuple of arrays that come out side by side. In a kernel an array is one
            number an atom and channel.
        inputs: trees of tensors (N, 1 | 3 | 5, F) and arrays (N, 1, F), the first of them of full
            size and others with 1 in place of N or F where one number serves all. For functions
            that only GPUs have, also arrays (N, k, F), which come as tuples of k.

    Returns:
        what the function returns: tensors (N, 1 | 3 | 5, F), arrays (N, 1, F), tuples (N, k, F).
    """
    function, inputs = _expanded(function, inputs)
    if not _in_kernels(inputs):
        return function(*inputs)
    given, structure = jax.tree.flatten(inputs, is_leaf=_is_tensor)

    def of_trees(*components: tuple[Array, ...]) -> PyTree:
        values = (_value(c, _is_tensor(x)) for c, x in zip(components, given, strict=True))
        return function(*jax.tree.unflatten(structure, values))

    def of_components(*components: tuple[Array, ...]) -> tuple[tuple[Array, ...], ...]:
        found = jax.tree.leaves(of_trees(*components), is_leaf=_is_result)
        return tuple(map(_side_by_side, found))

    arrays = [jnp.concatenate(x, axis=1) if _is_tensor(x) else x for x in given]
    number = jax.ShapeDtypeStruct((), arrays[0].dtype)
    shapes = ((number,) * array.shape[1] for array in arrays)
    results, form = jax.tree.flatten(jax.eval_shape(of_trees, *shapes), is_leaf=_is_result)
    found = atomwise(of_components, arrays, (arrays[0].shape[0], arrays[0].shape[-1]))
    made = (
        RankTwo(*split_parts(array, _SIZES)) if _is_tensor(result) else array
        for array, result in zip(found, results, strict=True)
    )
    return jax.tree.unflatten(form, made)


@dataclass(frozen=True, eq=False)
class Deferred:
    """A tensor that is made where it is used, in the kernel of that use; see `deferred`."""

    function: Callable[..., PyTree]
    inputs: tuple[object, ...]

    @cached_property
    def value(self) -> RankTwo:
        """The tensor, in a kernel of its own."""
        return by_atoms(self.function, *self.inputs)


def deferred(function: Callable[..., PyTree], *inputs: object) -> RankTwo | Deferred:
    """Return the tensor that `by_atoms` would, which kernels make where they need it.

    What is then written is what its uses make of it, and not the tensor itself.
    """
    function, inputs = _expanded(function, inputs)
    return Deferred(function, inputs) if _in_kernels(inputs) else function(*inputs)


def settled(tensor: RankTwo | Deferred) -> RankTwo:
    """Return a tensor that may be deferred."""
    return tensor.value if isinstance(tensor, Deferred) else tensor


def _expanded(
    function: Callable[..., PyTree], inputs: Sequence[object]
) -> tuple[Callable[..., PyTree], tuple[object, ...]]:
    """Take what deferred tensors are made of for inputs, and make them in the function."""
    if not any(isinstance(x, Deferred) for x in inputs):
        return function, tuple(inputs)

    def made_there(*groups: PyTree) -> PyTree:
        return function(
            *(
                x.function(*group) if isinstance(x, Deferred) else group
                for x, group in zip(inputs, groups, strict=True)
            )
        )

    return made_there, tuple(x.inputs if isinstance(x, Deferred) else x for x in inputs)


def _in_kernels(inputs: Sequence[object]) -> bool:
    return for_gpu(*jax.tree.leaves(tuple(inputs)))


def _is_tensor(value: object) -> bool:
    return isinstance(value, RankTwo | Components)


def _value(components: tuple[Array, ...], tensor: bool) -> Components | tuple[Array, ...] | Array:
    if tensor:
        return Components.of(components)
    first, *others = components
    return components if others else first


def _is_result(value: object) -> bool:
    return isinstance(value, tuple)


def _side_by_side(result: PyTree) -> tuple[Array, ...]:
    if _is_tensor(result):
        return (*result.scalar, *result.vector, *result.deviator)
    return result if isinstance(result, tuple) else (result,)
