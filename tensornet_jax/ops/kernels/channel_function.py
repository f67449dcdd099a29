"""Functions of all components of one channel of one atom, as kernels for GPUs.

Components stay in registers, so that features are read once and results written once, however
many products lie between. Kernels of derivatives are made from the function by JAX, to any order:
the derivative of a function of one channel of one atom is one too.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels.channel_blocks import channel_width
from tensornet_jax.ops.kernels.launch import Ref, launch

Components = list[Array]
"""The components of a field, each of some channels of one atom."""

Fields = tuple[Float[Array, "atoms _ channels"], ...]


class ChannelFunction(ABC):
    """Sums and products of components, with weights that atoms of one species share.

    Equal functions must compare equal, and have the same hash.
    """

    @abstractmethod
    def __call__(self, weights: Components, fields: Sequence[Components]) -> list[Components]:
        """Return fields."""

    @abstractmethod
    def sizes(self, num_weights: int, sizes: Sequence[int]) -> tuple[int, ...]:
        """Components of the resulting fields, from those of the fields that come in."""

    def pullback(self, num_fields: int, *, of_weights: bool) -> "ChannelFunction":
        """Return cotangents of the arguments from the arguments and the cotangents of the results.

        Args:
            num_fields: how many fields come in; the cotangents follow them.
            of_weights: whether the cotangent of the weights is wanted, or those of the fields.
        """
        return _Pullback(self, num_fields, of_weights)


def apply_to_channels(
    function: ChannelFunction,
    weights: Float[Array, "species num_weights channels"],
    species: Int[Array, " atoms"],
    fields: Fields,
    *,
    interpret: bool,
) -> Fields:
    """Apply a function to every channel of every atom; differentiable to any order.

    Args:
        function: what to apply.
        weights: (S, W, C).
        species: (N,) from 0 to S − 1.
        fields: (N, components, C) each.
        interpret: whether Pallas is to interpret the kernels.

    Returns:
        (N, components, C) each.
    """
    return _apply((function, interpret), weights, species, fields)


@dataclass(frozen=True)
class _Pullback(ChannelFunction):
    """The pullback of any function, as JAX makes it."""

    function: ChannelFunction
    num_fields: int
    of_weights: bool

    def __call__(self, weights: Components, fields: Sequence[Components]) -> list[Components]:
        arguments = list(fields[: self.num_fields])
        cotangents = list(fields[self.num_fields :])
        if self.of_weights:
            pull = jax.vjp(lambda weights: self.function(weights, arguments), weights)[1]
            return list(pull(cotangents))
        pull = jax.vjp(lambda arguments: self.function(weights, arguments), arguments)[1]
        return pull(cotangents)[0]

    def sizes(self, num_weights: int, sizes: Sequence[int]) -> tuple[int, ...]:
        return (num_weights,) if self.of_weights else tuple(sizes[: self.num_fields])


def _compute(
    static: tuple[ChannelFunction, bool], weights: Array, species: Array, fields: Fields
) -> Fields:

    function, interpret = static
    num_atoms, _, channels = fields[0].shape
    width = channel_width(channels)
    sizes = function.sizes(weights.shape[1], [field.shape[1] for field in fields])
    call = launch(
        partial(_kernel, function, width, len(fields)),
        tuple(jax.ShapeDtypeStruct((num_atoms, size, channels), weights.dtype) for size in sizes),
        (num_atoms, channels // width),
        num_warps=max(1, width // 32),
        interpret=interpret,
        name="channel_function",
    )
    return tuple(call(weights, species, *fields))


def _kernel(
    function: ChannelFunction,
    width: int,
    num_fields: int,
    weights: Ref,
    species: Ref,
    *fields_and_found: Ref,
) -> None:
    import jax.experimental.pallas as pl

    atom, channels = pl.program_id(0), pl.ds(pl.program_id(1) * width, width)
    own = species[atom]
    values = function(
        [weights[own, number, channels] for number in range(weights.shape[1])],
        [
            [field[atom, a, channels] for a in range(field.shape[1])]
            for field in fields_and_found[:num_fields]
        ],
    )
    for found, components in zip(fields_and_found[num_fields:], values, strict=True):
        for a, value in enumerate(components):
            found[atom, a, channels] = value


def _backward(static, inputs, cotangents: Fields):
    function, interpret = static
    weights, species, fields = inputs

    def pulled_back(*, of_weights: bool) -> Fields:
        pullback = function.pullback(len(fields), of_weights=of_weights)
        return _apply((pullback, interpret), weights, species, (*fields, *cotangents))

    # Two calls, so that who needs the forces alone does not pay for the other.
    (of_atoms,) = pulled_back(of_weights=True)
    is_own = (species == jnp.arange(len(weights))[:, None]).astype(weights.dtype)
    of_weights = jnp.einsum("sn,nwc->swc", is_own, of_atoms, precision=lax.Precision.HIGHEST)
    return of_weights, None, pulled_back(of_weights=False)


_apply = jax.custom_vjp(_compute, nondiff_argnums=(0,))
_apply.defvjp(keeping_inputs(_apply, 1), _backward)
