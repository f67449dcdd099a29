"""Messages with a weight for each path of the Clebsch–Gordan product, as kernels for GPUs.

All that is computed is the form

    Φ(w, h, Y, T) = Σ_e Σ_p Σ_abm C^p_abm w_p(e) h_a(sender of e) Y_b(e) T_pm(receiver of e),

summed over channels too, and its partial derivatives. ∂Φ/∂T is the message, ∂Φ/∂h the same sum
over the edges that leave an atom, and ∂Φ/∂w and ∂Φ/∂Y come together, edge by edge. As Φ is linear
in each argument, their derivatives are the same three again, to any order. Sums over neighbors
stay in registers, nothing is scattered, and no result depends on a race.
"""

from collections.abc import Callable
from functools import partial
from math import gcd

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels.channel_blocks import can_be_split, channel_width
from tensornet_jax.ops.kernels.launch import launch
from tensornet_jax.ops.kernels.path_kernels import edge_kernel, features_kernel, message_kernel
from tensornet_jax.ops.kernels.path_terms import PathTerms
from tensornet_jax.ops.messages.edge_index import EdgeIndex

Parts = tuple[Array, ...]
"""By degree l of the message, (N, 2l + 1, copies · C)."""

_MOST_SUMS = 96
"""Components of a message above which the sums of one thread no longer fit its registers."""
_MOST_TERMS = 600
"""Coefficients above which compiling takes longer than a model is worth."""
_PAIRS = 4
"""Most pairs of one program."""


def takes(terms: PathTerms, features: Array, weights: Array) -> bool:
    """Tell whether the kernels take a product and (N, a, C) features."""
    return (
        can_be_split(features, weights)
        and len(terms.places) <= _MOST_SUMS
        and terms.num_terms <= _MOST_TERMS
    )


def path_message(
    terms: PathTerms,
    weights: Float[Array, "pairs paths channels"],
    features: Float[Array, "atoms in_components channels"],
    harmonics: Float[Array, "edges components"],
    edges: EdgeIndex,
    *,
    interpret: bool,
) -> list[Float[Array, "atoms _ _"]]:
    """Sum over the edges arriving at each atom; differentiable to any order.

    Args:
        terms: the product.
        weights: (P, paths, C), 0 for padding.
        features: (N, a, C).
        harmonics: (E, b).
        edges: connectivity.
        interpret: whether Pallas is to interpret the kernels.

    Returns:
        by degree l (N, 2l + 1, copies · C).
    """
    return list(_message((terms, interpret), weights, features, harmonics, edges))


_Static = tuple[PathTerms, bool]


def _compute_message(
    static: _Static, weights: Array, features: Array, harmonics: Array, edges: EdgeIndex
) -> Parts:
    """∂Φ/∂T."""
    terms, interpret = static
    num_atoms, _, channels = features.shape
    shapes = tuple(
        jax.ShapeDtypeStruct((num_atoms, 2 * degree + 1, copies * channels), features.dtype)
        for degree, copies in enumerate(terms.copies)
    )
    call = _over_atoms("forward", message_kernel, terms, edges.slots, channels, shapes, interpret)
    return tuple(call(edges.slots, edges.senders, weights, features, harmonics))


def _compute_features_cotangent(
    static: _Static, weights: Array, harmonics: Array, cotangent: Parts, edges: EdgeIndex
) -> Array:
    """∂Φ/∂h, (N, a, C)."""
    terms, interpret = static
    channels = weights.shape[-1]
    shape = (edges.slots.shape[0], terms.num_components[0], channels)
    shapes = (jax.ShapeDtypeStruct(shape, weights.dtype),)
    call = _over_atoms(
        "of_features", features_kernel, terms, edges.slots, channels, shapes, interpret
    )
    return call(edges.slots, edges.senders, weights, harmonics, *cotangent)[0]


def _compute_edge_cotangents(
    static: _Static,
    weights: Array,
    features: Array,
    harmonics: Array,
    cotangent: Parts,
    edges: EdgeIndex,
) -> tuple[Array, Array]:
    """∂Φ/∂w (P, paths, C) and ∂Φ/∂Y (E, b)."""
    terms, interpret = static
    num_pairs, _, channels = weights.shape
    width, taken = channel_width(channels), gcd(num_pairs, _PAIRS)
    blocks = channels // width
    of_harmonics = jax.ShapeDtypeStruct((blocks, *harmonics.shape), weights.dtype)
    call = launch(
        partial(edge_kernel, terms, width, taken),
        (jax.ShapeDtypeStruct(weights.shape, weights.dtype), of_harmonics),
        (num_pairs // taken, blocks),
        num_warps=4,
        interpret=interpret,
        name="path_message_of_edges",
    )
    of_weights, partial_sums = call(
        edges.receivers, edges.senders, weights, features, harmonics, *cotangent
    )
    return of_weights, partial_sums[0] if blocks == 1 else jnp.sum(partial_sums, axis=0)


def _message_backward(static, inputs, cotangent: Parts):
    weights, features, harmonics, edges = inputs
    of_features = _features_cotangent(static, weights, harmonics, cotangent, edges)
    of_weights, of_harmonics = _edge_cotangents(
        static, weights, features, harmonics, cotangent, edges
    )
    return of_weights, of_features, of_harmonics, None


def _features_backward(static, inputs, cotangent: Array):
    weights, harmonics, field, edges = inputs
    of_weights, of_harmonics = _edge_cotangents(static, weights, cotangent, harmonics, field, edges)
    of_field = _message(static, weights, cotangent, harmonics, edges)
    return of_weights, of_harmonics, of_field, None


def _edges_backward(static, inputs, cotangents: tuple[Array, Array]):
    weights, features, harmonics, field, edges = inputs
    new_weights, new_harmonics = cotangents
    # What is differentiated is Φ(w', h, Y, T) + Φ(w, h, Y', T).
    pairs = ((new_weights, harmonics), (weights, new_harmonics))
    of_features = sum(_features_cotangent(static, w, y, field, edges) for w, y in pairs)
    fields = (_message(static, w, features, y, edges) for w, y in pairs)
    of_field = tuple(map(jnp.add, *fields))
    # The first of the two does not depend on w and the second not on Y.
    of_weights, of_harmonics = _edge_cotangents(
        static, new_weights, features, new_harmonics, field, edges
    )
    return of_weights, of_features, of_harmonics, of_field, None


_message = jax.custom_vjp(_compute_message, nondiff_argnums=(0,))
_features_cotangent = jax.custom_vjp(_compute_features_cotangent, nondiff_argnums=(0,))
_edge_cotangents = jax.custom_vjp(_compute_edge_cotangents, nondiff_argnums=(0,))
_message.defvjp(keeping_inputs(_message, 1), _message_backward)
_features_cotangent.defvjp(keeping_inputs(_features_cotangent, 1), _features_backward)
_edge_cotangents.defvjp(keeping_inputs(_edge_cotangents, 1), _edges_backward)


def _over_atoms(
    name: str,
    kernel: Callable[..., None],
    terms: PathTerms,
    slots: Int[Array, "atoms slots"],
    channels: int,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    interpret: bool,
) -> Callable[..., tuple[Array, ...]]:
    """A kernel of one atom and block of channels, which takes some slots in each turn."""
    width = channel_width(channels)
    # Where there are many sums, a thread has those of one channel and slot alone.
    many = kernel is message_kernel and len(terms.places) > _MOST_SUMS // 2
    taken = 4 if many or slots.shape[1] % 8 else 8
    return launch(
        partial(kernel, terms, width, taken),
        shapes,
        (slots.shape[0], channels // width),
        num_warps=max(1, min(8, taken * width // 32)),
        interpret=interpret,
        name=f"path_message_{name}",
    )
