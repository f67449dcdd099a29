"""Messages with a filter for each pair, in kernels on GPUs.

`ops.messages.message.convolve` and `pair_products` are closed under differentiation part by part;
here all parts are side by side, which makes one kernel of each, and what is sent goes along with
what is received, so that the cotangents of both are added where messages are summed.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels import neighbor_sums
from tensornet_jax.ops.kernels.channel_blocks import kernels_take
from tensornet_jax.ops.kernels.choice import choose, for_gpu
from tensornet_jax.ops.kernels.neighbor_sums import Sizes
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import (
    AtomParts,
    PairParts,
    convolve,
    pair_products,
    split_parts,
)

Stacked = Float[Array, "atoms components channels"]
Filters = Float[Array, "pairs parts channels"]


def convolve_filtered(
    filters: PairParts, features: AtomParts, edges: EdgeIndex
) -> tuple[AtomParts, AtomParts]:
    """M_i = Σ_j f_ij ∘ Y_j over the edges arriving at i.

    Args:
        filters: per part (P, 1, F), one value for both directions of a pair; must be 0 for
            padding pairs.
        features: per part (N, d, F).
        edges: connectivity with P pairs and N atoms.

    Returns:
        the features, and the messages, per part (N, d, F).
    """
    if not (
        for_gpu(filters[0], features[0])
        and kernels_take(features[0].shape[-1], filters[0], features[0])
    ):
        return features, convolve(filters, features, edges)
    sizes = tuple(part.shape[1] for part in features)
    stacked = (jnp.concatenate(parts, axis=1) for parts in (filters, features))
    both: Any = _send(sizes, *stacked, edges)
    sent, received = (split_parts(each, sizes) for each in both)
    return sent, received


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _send(
    sizes: Sizes, filters: Filters, features: Stacked, edges: EdgeIndex
) -> tuple[Stacked, Stacked]:
    return features, _convolve(sizes, filters, features, None, edges)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(
    sizes: Sizes, filters: Filters, features: Stacked, start: Stacked | None, edges: EdgeIndex
) -> Stacked:
    """The start, if there is one, plus the messages."""

    def plain(filters: Array, features: Array, start: Array | None, edges: EdgeIndex) -> Array:
        by_part = split_parts(filters, (1,) * len(sizes))
        found = jnp.concatenate(convolve(by_part, split_parts(features, sizes), edges), axis=1)
        return found if start is None else start + found

    kernel = partial(neighbor_sums.convolve, sizes=sizes)
    return choose(kernel, plain, filters, features, start, edges, fits=True)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _products(sizes: Sizes, a: Stacked, b: Stacked, edges: EdgeIndex) -> Filters:
    def plain(a: Array, b: Array, edges: EdgeIndex) -> Array:
        found = pair_products(split_parts(a, sizes), split_parts(b, sizes), edges)
        return jnp.concatenate(found, axis=1)

    kernel = partial(neighbor_sums.pair_products, sizes=sizes)
    return choose(kernel, plain, a, b, edges, fits=True)


def _send_backward(sizes, inputs, cotangents):
    filters, features, edges = inputs
    of_sent, of_received = cotangents
    return (
        _products(sizes, of_received, features, edges),
        _convolve(sizes, filters, of_received, of_sent, edges),
        None,
    )


def _convolve_backward(sizes, inputs, cotangent):
    filters, features, start, edges = inputs
    return (
        _products(sizes, cotangent, features, edges),
        _convolve(sizes, filters, cotangent, None, edges),
        None if start is None else cotangent,
        None,
    )


def _products_backward(sizes, inputs, cotangent):
    a, b, edges = inputs
    return (
        _convolve(sizes, cotangent, b, None, edges),
        _convolve(sizes, cotangent, a, None, edges),
        None,
    )


_send.defvjp(keeping_inputs(_send, 1), _send_backward)
_convolve.defvjp(keeping_inputs(_convolve, 1), _convolve_backward)
_products.defvjp(keeping_inputs(_products, 1), _products_backward)
