"""Messages with a filter for each pair, in kernels on GPUs.

A filter f_p = φ(x_p) is a function, number by number, of what a pair has: (P, S, F) arrays, like
what the last layer of a radial network gives before its activation, and (P,) numbers, like the
cutoff function. With q_p = Σ_c a_ic b_jc + a_jc b_ic, summed over the components of a part,

    ∂/∂Y of Σ_i T_i · Σ_j φ(x_p) ∘ Y_j   is the same sum over T,
    ∂/∂x                                 is ∂φ/∂x(x_p) q_p of T and Y, for (P,) numbers summed,

and the derivative of the latter along ẋ is a filter of its own, φ'(x, ẋ) = ∂φ/∂x · ẋ: two
functions, closed under differentiation to any order, in which neither filters nor q are written.
All parts are side by side, which makes one kernel of each, and what is sent goes along with what is
received, so that the cotangents of both are added where messages are summed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels import neighbor_sums, pair_sums
from tensornet_jax.ops.kernels.channel_blocks import kernels_take
from tensornet_jax.ops.kernels.choice import choose, for_gpu
from tensornet_jax.ops.kernels.neighbor_sums import PairFunction, Sizes
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import (
    AtomParts,
    PairParts,
    convolve,
    pair_products,
    split_parts,
)

Stacked = Float[Array, "atoms components channels"]
Given = tuple[Array, ...]
"""What pairs have: (P, S, F) each, or (P,)."""


def convolve_filtered(
    function: PairFunction,
    values: PairParts | Float[Array, "pairs parts channels"],
    factor: Float[Array, " pairs"],
    features: AtomParts,
    edges: EdgeIndex,
) -> tuple[AtomParts, AtomParts]:
    """M_i = Σ_j φ(x_ij, s_ij) ∘ Y_j over the edges arriving at i.

    Args:
        function: φ, of arrays of equal shapes, number by number, and 0 where s is.
        values: x, per part (P, 1, F) or side by side, the same for both directions of a pair.
        factor: s; must be 0 for padding pairs, whatever it is computed from.
        features: per part (N, d, F).
        edges: connectivity with P pairs and N atoms.

    Returns:
        the features, and the messages, per part (N, d, F).
    """
    first = features[0]
    if not (for_gpu(factor, first) and kernels_take(first.shape[-1], factor, first)):
        if not isinstance(values, tuple):
            values = split_parts(values, (1,) * len(features))
        filters = tuple(function(value, factor[:, None, None]) for value in values)
        return features, convolve(filters, features, edges)
    if isinstance(values, tuple):
        values = jnp.concatenate(values, axis=1)
    sizes = tuple(part.shape[1] for part in features)
    both: PyTree = _send(
        (function, sizes), (values, factor), jnp.concatenate(features, axis=1), edges
    )
    sent, received = (split_parts(each, sizes) for each in both)
    return sent, received


@dataclass(frozen=True)
class _Along:
    """The derivative of a function along directions of its first arguments, which come last.

    function: what is differentiated.
    count: of its arguments.
    """

    function: PairFunction
    count: int

    def __call__(self, *arrays: Array) -> Array:
        given, directions = arrays[: self.count], arrays[self.count :]

        def of_first(*changing: Array) -> Array:
            return self.function(*changing, *given[len(directions) :])

        return jax.jvp(of_first, given[: len(directions)], directions)[1]


Static = tuple[PairFunction, Sizes]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _send(
    static: Static, given: Given, features: Stacked, edges: EdgeIndex
) -> tuple[Stacked, Stacked]:
    found: PyTree = _convolve(static, given, (features,), None, edges)
    return features, found[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(
    static: Static,
    given: Given,
    features: tuple[Stacked, ...],
    start: Stacked | None,
    edges: EdgeIndex,
) -> tuple[Stacked, ...]:
    """The messages of each of some features; to the first the start is added, if there is one."""
    function, sizes = static

    def plain(
        given: Given, features: tuple[Stacked, ...], start: Stacked | None, edges: EdgeIndex
    ) -> tuple[Stacked, ...]:
        filters = split_parts(function(*_broadcast(given)), (1,) * len(sizes))
        found = (convolve(filters, split_parts(each, sizes), edges) for each in features)
        first, *others = (jnp.concatenate(parts, axis=1) for parts in found)
        return (first if start is None else start + first, *others)

    kernel = partial(neighbor_sums.convolve, function, sizes=sizes)
    return choose(kernel, plain, given, features, start, edges, fits=True)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _cotangents(
    static: Static, wanted: int, given: Given, a: Stacked, b: Stacked, edges: EdgeIndex
) -> Given:
    """Those of the first things that pairs have."""
    function, sizes = static

    def plain(given: Given, a: Stacked, b: Stacked, edges: EdgeIndex) -> Given:
        products = pair_products(split_parts(a, sizes), split_parts(b, sizes), edges)
        product = jnp.concatenate(products, axis=1)
        found = pair_sums.pulled(function, _broadcast(given), wanted, product)
        return tuple(x.reshape(own.shape) for x, own in zip(found, given, strict=False))

    kernel = partial(pair_sums.pair_cotangents, function, wanted=wanted, sizes=sizes)
    return choose(kernel, plain, given, a, b, edges, fits=True)


def _broadcast(given: Sequence[Array]) -> Given:
    return tuple(each if each.ndim > 1 else each[:, None, None] for each in given)


def _send_backward(static, inputs, cotangents):
    given, features, edges = inputs
    of_sent, of_received = cotangents
    of_features: PyTree = _convolve(static, given, (of_received,), of_sent, edges)
    return (
        _cotangents(static, len(given), given, of_received, features, edges),
        of_features[0],
        None,
    )


def _convolve_backward(static, inputs, cotangents):
    given, features, start, edges = inputs
    of_pairs = (
        _cotangents(static, len(given), given, cotangent, each, edges)
        for cotangent, each in zip(cotangents, features, strict=True)
    )
    return (
        jax.tree.map(lambda *each: sum(each[1:], each[0]), *of_pairs),
        _convolve(static, given, cotangents, None, edges),
        None if start is None else cotangents[0],
        None,
    )


def _cotangents_backward(static, wanted, inputs, cotangents):
    given, a, b, edges = inputs
    function, sizes = static
    along = _Along(function, len(given)), sizes
    both = *given, *cotangents
    of_ends: PyTree = _convolve(along, both, (b, a), None, edges)
    return _cotangents(along, len(given), both, a, b, edges), *of_ends, None


_send.defvjp(keeping_inputs(_send, 1), _send_backward)
_convolve.defvjp(keeping_inputs(_convolve, 1), _convolve_backward)
_cotangents.defvjp(keeping_inputs(_cotangents, 2), _cotangents_backward)
