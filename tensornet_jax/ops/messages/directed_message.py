"""Messages whose filters differ between the two directions of a pair.

`convolve_directed` is M_i = Σ_e f_e ∘ Y_j over the edges e from j to i. It belongs to the trilinear
form Φ(f, Y, T) = Σ_e f_e · Y_j · T_i, whose derivatives are the same two functions again: ∂Φ/∂T is
itself, ∂Φ/∂Y is it over the edges turned around, and ∂Φ/∂f is `edge_products` of Y and T. So, as in
`ops.message`, nothing is ever scattered at any order of differentiation.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.messages.edge_index import EdgeIndex, reversed_edges
from tensornet_jax.ops.messages.message import AtomParts, Parts, aggregate, rows

EdgeParts = tuple[Float[Array, "edges 1 channels"], ...]
"""For each irreducible part one number an edge and channel."""


def convolve_directed(filters: EdgeParts, features: AtomParts, edges: EdgeIndex) -> AtomParts:
    """M_i = Σ_e f_e ∘ Y_j over the edges e arriving at i.

    Args:
        filters: per part (E, 1, F), one value for each edge; must be 0 for padding edges.
        features: per part (N, d, F).
        edges: connectivity with E edges and N atoms.

    Returns:
        per part (N, d, F).
    """
    return _convolve(tuple(filters), tuple(features), edges)


def edge_products(senders: AtomParts, receivers: AtomParts, edges: EdgeIndex) -> EdgeParts:
    """Σ_c a_jc b_ic for every edge from j to i, summed over the components of a part.

    Args:
        senders: a, per part (N, d, F).
        receivers: b, per part (N, d, F).
        edges: connectivity.

    Returns:
        per part (E, 1, F).
    """
    return _edge_products(tuple(senders), tuple(receivers), edges)


@jax.custom_vjp
def _convolve(filters: Parts, features: Parts, edges: EdgeIndex) -> Parts:
    def term(edge: Array, sender: Array) -> Parts:
        return tuple(
            rows(f, edge) * rows(y, sender) for f, y in zip(filters, features, strict=True)
        )

    return aggregate(term, edges.slots, rows(edges.senders, edges.slots))


def _convolve_backward(residuals, cotangent):
    filters, features, edges = residuals
    return (
        _edge_products(features, cotangent, edges),
        _convolve(filters, cotangent, reversed_edges(edges)),
        None,
    )


@jax.custom_vjp
def _edge_products(senders: Parts, receivers: Parts, edges: EdgeIndex) -> Parts:
    return tuple(
        jnp.sum(rows(a, edges.senders) * rows(b, edges.receivers), axis=-2, keepdims=True)
        for a, b in zip(senders, receivers, strict=True)
    )


def _edge_products_backward(residuals, cotangent):
    senders, receivers, edges = residuals
    return (
        _convolve(cotangent, receivers, reversed_edges(edges)),
        _convolve(cotangent, senders, edges),
        None,
    )


_convolve.defvjp(keeping_inputs(_convolve), _convolve_backward)
_edge_products.defvjp(keeping_inputs(_edge_products), _edge_products_backward)
