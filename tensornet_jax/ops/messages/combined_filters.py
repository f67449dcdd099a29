"""Messages whose filters are combined from few functions of the distance.

With f_p = Σ_r b_pr W_r, R functions b of a pair's distance and a matrix W a part, the message
M_i = Σ_j f_p ∘ Y_j belongs to the form

    Φ(b, W, Y, T) = Σ_e Σ_rcF b_pr W_rF Y_jcF T_icF

over edges e from j to i, components c and channels F, symmetric under exchange of Y and T because
every edge has its reverse. Its derivatives are three functions closed under differentiation: ∂Φ/∂T
and ∂Φ/∂Y are `convolve_combined`, ∂Φ/∂b is `combined_overlaps`, (P, R) already summed over
channels, and ∂Φ/∂W is `combined_weights`. Kernels compute them without writing any filter.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PyTree

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels import neighbor_sums, pair_sums
from tensornet_jax.ops.kernels.channel_blocks import kernels_take
from tensornet_jax.ops.kernels.choice import choose, for_gpu
from tensornet_jax.ops.kernels.neighbor_sums import Sizes
from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import (
    AtomParts,
    convolve,
    pair_products,
    split_parts,
)

Stacked = Float[Array, "atoms components channels"]
Weights = Float[Array, "parts functions channels"]


def convolve_combined(
    basis: Float[Array, "pairs functions"],
    weights: tuple[Float[Array, "functions channels"], ...],
    features: AtomParts,
    edges: EdgeIndex,
) -> tuple[AtomParts, AtomParts]:
    """M_i = Σ_j (b_ij W) ∘ Y_j over the edges arriving at i.

    The features come out with the messages, for whoever needs both: the cotangents of the two are
    then added where those of the messages are summed.

    Args:
        basis: (P, R), one row for both directions of a pair; must be 0 for padding pairs.
        weights: per part (R, F).
        features: per part (N, d, F).
        edges: connectivity with P pairs and N atoms.

    Returns:
        the features, and the messages, per part (N, d, F).
    """
    if not _in_kernels(basis, features[0]):
        filters = tuple((basis @ matrix)[:, None] for matrix in weights)
        return features, convolve(filters, features, edges)
    sizes = tuple(part.shape[1] for part in features)
    stacked = jnp.concatenate(features, axis=1)
    both: PyTree = _send(sizes, basis, jnp.stack(weights), stacked, edges)
    sent, received = (split_parts(each, sizes) for each in both)
    return sent, received


def _in_kernels(basis: Array, features: Array) -> bool:
    few = basis.shape[1] <= neighbor_sums.MOST_FUNCTIONS
    return few and for_gpu(basis, features) and kernels_take(features.shape[-1], basis, features)


# --- the three partial derivatives ---------------------------------------------------------------


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _send(
    sizes: Sizes, basis: Array, weights: Weights, features: Stacked, edges: EdgeIndex
) -> tuple[Stacked, Stacked]:
    return features, _convolve(sizes, basis, weights, features, None, edges)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(
    sizes: Sizes,
    basis: Array,
    weights: Weights,
    features: Stacked,
    start: Stacked | None,
    edges: EdgeIndex,
) -> Stacked:
    """The start, if there is one, plus the messages."""

    def plain(
        basis: Array, weights: Array, features: Array, start: Array | None, edges: EdgeIndex
    ) -> Array:
        filters = tuple((basis @ matrix)[:, None] for matrix in weights)
        found = jnp.concatenate(convolve(filters, split_parts(features, sizes), edges), axis=1)
        return found if start is None else start + found

    kernel = partial(neighbor_sums.convolve_combined, sizes=sizes)
    return choose(kernel, plain, basis, weights, features, start, edges, fits=True)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _overlaps(
    sizes: Sizes, weights: Weights, a: Stacked, b: Stacked, edges: EdgeIndex
) -> Float[Array, "pairs functions"]:
    def plain(weights: Array, a: Array, b: Array, edges: EdgeIndex) -> Array:
        products = pair_products(split_parts(a, sizes), split_parts(b, sizes), edges)
        stacked = jnp.concatenate(products, axis=1)
        return jnp.einsum("sprf,srf->pr", stacked.swapaxes(0, 1)[:, :, None], weights)

    kernel = partial(pair_sums.combined_overlaps, sizes=sizes)
    return choose(kernel, plain, weights, a, b, edges, fits=True)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weights(
    sizes: Sizes,
    basis: Float[Array, "pairs functions"],
    a: Stacked,
    b: Stacked,
    edges: EdgeIndex,
) -> Weights:
    def plain(basis: Array, a: Array, b: Array, edges: EdgeIndex) -> Array:
        products = pair_products(split_parts(a, sizes), split_parts(b, sizes), edges)
        return jnp.einsum("pr,psf->srf", basis, jnp.concatenate(products, axis=1))

    kernel = partial(pair_sums.combined_weights, sizes=sizes)
    return choose(kernel, plain, basis, a, b, edges, fits=True)


def _send_backward(sizes, inputs, cotangents):
    basis, weights, features, edges = inputs
    of_sent, of_received = cotangents
    return (
        _overlaps(sizes, weights, of_received, features, edges),
        _weights(sizes, basis, of_received, features, edges),
        _convolve(sizes, basis, weights, of_received, of_sent, edges),
        None,
    )


def _convolve_backward(sizes, inputs, cotangent):
    basis, weights, features, start, edges = inputs
    return (
        _overlaps(sizes, weights, cotangent, features, edges),
        _weights(sizes, basis, cotangent, features, edges),
        _convolve(sizes, basis, weights, cotangent, None, edges),
        None if start is None else cotangent,
        None,
    )


def _overlaps_backward(sizes, inputs, cotangent):
    weights, a, b, edges = inputs
    return (
        _weights(sizes, cotangent, a, b, edges),
        _convolve(sizes, cotangent, weights, b, None, edges),
        _convolve(sizes, cotangent, weights, a, None, edges),
        None,
    )


def _weights_backward(sizes, inputs, cotangent):
    basis, a, b, edges = inputs
    return (
        _overlaps(sizes, cotangent, a, b, edges),
        _convolve(sizes, basis, cotangent, b, None, edges),
        _convolve(sizes, basis, cotangent, a, None, edges),
        None,
    )


_send.defvjp(keeping_inputs(_send, 1), _send_backward)
_convolve.defvjp(keeping_inputs(_convolve, 1), _convolve_backward)
_overlaps.defvjp(keeping_inputs(_overlaps, 1), _overlaps_backward)
_weights.defvjp(keeping_inputs(_weights, 1), _weights_backward)
