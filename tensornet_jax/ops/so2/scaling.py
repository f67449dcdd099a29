"""Features of edges times factors of their degrees, in the layout of accelerators.

It comes from the form Σ g_emlc q_elc p_emlc of messages p, factors q and cotangents g. Its
derivatives by g, and by p and q, are two functions whose derivatives are the same two again.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels import edge_scaling
from tensornet_jax.ops.kernels.choice import choose
from tensornet_jax.ops.kernels.edge_blocks import fits
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout, Orders


@jax.custom_vjp
def scale_degrees(messages: Orders, factors: Float[Array, "edges degrees channels"]) -> Orders:
    """Multiply features of all orders by factors of their degrees.

    Args:
        messages: p, see `EdgeLayout`, with one end.
        factors: q, (E, l_max + 1, C).
    """
    return choose(
        partial(edge_scaling.scale_degrees, _layout(messages, factors)),
        _plain_scale_degrees,
        messages,
        factors,
        fits=fits(factors.shape[0], factors.shape[-1], factors),
    )


@jax.custom_vjp
def cotangents(
    messages: Orders, factors: Float[Array, "edges degrees channels"], others: Orders
) -> tuple[Orders, Float[Array, "edges degrees channels"]]:
    """Derivatives of the form by p and by q, with g the others."""
    return choose(
        partial(edge_scaling.cotangents, _layout(messages, factors)),
        _plain_cotangents,
        messages,
        factors,
        others,
        fits=fits(factors.shape[0], factors.shape[-1], factors),
    )


def _cotangents_backward(residuals, cotangent):
    messages, factors, others = residuals
    new_messages, new_factors = cotangent
    # By p the form of q', by q that of p'.
    of_messages, of_factors = cotangents(new_messages, new_factors, others)
    of_others = tuple(
        a + b
        for a, b in zip(
            scale_degrees(new_messages, factors),
            scale_degrees(messages, new_factors),
            strict=True,
        )
    )
    return of_messages, of_factors, of_others


scale_degrees.defvjp(keeping_inputs(scale_degrees), lambda found, g: cotangents(*found, g))
cotangents.defvjp(keeping_inputs(cotangents), _cotangents_backward)


def _layout(messages: Orders, factors: Array) -> EdgeLayout:
    return EdgeLayout(factors.shape[1] - 1, len(messages) - 1, 1)


def _plain_scale_degrees(messages: Orders, factors: Array) -> Orders:
    return tuple(part * factors[:, None, order:] for order, part in enumerate(messages))


def _plain_cotangents(messages: Orders, factors: Array, others: Orders) -> tuple[Orders, Array]:
    total = jnp.zeros_like(factors)
    for order, (part, other) in enumerate(zip(messages, others, strict=True)):
        total += jnp.pad(jnp.sum(part * other, axis=1), [(0, 0), (order, 0), (0, 0)])
    return _plain_scale_degrees(others, factors), total
