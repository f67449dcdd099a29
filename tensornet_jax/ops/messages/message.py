"""Edge → atom aggregation: the hot loop, with its own derivative rules.

Edges come in pairs: edge e runs from atom j to atom i, edge e + E/2 from i to j, and both share
the pair p = e mod E/2. Each atom lists the edges that arrive at it in a row of ``slots``.

`convolve` is M_i = Σ_j f_p ∘ Y_j with a filter f that depends on the pair alone. Read as the
trilinear form Φ(f, Y, T) = Σ_e f_p · Y_j · T_i it is symmetric under exchange of Y and T, because
every edge has its reverse. So ∂Φ/∂Y is `convolve` of T, ∂Φ/∂f is `pair_products` of Y and T, and
the derivatives of `pair_products` are `convolve` again: two functions, closed under
differentiation to any order, in which nothing is ever scattered and no sum depends on a race.

`collect` (geometry times weight per edge, summed at the receiver) closes in the same way with
`_weights_cotangent` and `_geometry_cotangent`, the other two partial derivatives of
Σ_e y_e · w_e · T_i.

On a CPU, XLA would write the gathered (E, d, F) tensor to memory; a scan over blocks of slots
keeps the accumulator in cache and is several times faster. On a GPU it writes it too, transposed:
where that counts, `pair_filters` and `combined_filters` sum in kernels instead.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Shaped

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.messages.edge_index import EdgeIndex, reversed_edges

SLOT_BLOCK = 4
"""Slots taken in one step of the scan; the width of ``EdgeIndex.slots`` is a multiple of it."""

Parts = tuple[Array, ...]
"""One array per irreducible part, each (rows, components of the part, F)."""

AtomParts = tuple[Float[Array, "atoms _ channels"], ...]
"""A field of the atoms by irreducible part."""

PairParts = tuple[Float[Array, "pairs 1 channels"], ...]
"""For each irreducible part one number a pair and channel."""


def convolve(filters: PairParts, features: AtomParts, edges: EdgeIndex) -> AtomParts:
    """M_i = Σ_j f_ij ∘ Y_j over the edges arriving at i.

    Args:
        filters: per part (P, 1, F), one value for both directions of a pair; must be 0 for
            padding pairs.
        features: per part (N, d, F).
        edges: connectivity with P pairs and N atoms.

    Returns:
        per part (N, d, F).
    """
    return _convolve(tuple(filters), tuple(features), edges)


def pair_products(a: AtomParts, b: AtomParts, edges: EdgeIndex) -> PairParts:
    """Σ_c a_ic b_jc + a_jc b_ic for every pair (i, j), summed over the components of a part.

    Args:
        a, b: per part (N, d, F).
        edges: connectivity.

    Returns:
        per part (P, 1, F).
    """
    return _pair_products(tuple(a), tuple(b), edges)


def collect(
    geometry: tuple[Float[Array, "edges _"], ...],
    weights: tuple[Float[Array, "edges channels"], ...],
    edges: EdgeIndex,
) -> AtomParts:
    """T_i = Σ_e y_e ⊗ w_e over the edges arriving at i.

    Args:
        geometry: per part (E, d), e.g. the components of a unit vector.
        weights: per part (E, F); must be 0 for padding edges.
        edges: connectivity.

    Returns:
        per part (N, d, F).
    """
    return _collect(tuple(geometry), tuple(weights), edges)


def at_receivers(field: Shaped[Array, "atoms ..."], edges: EdgeIndex) -> Shaped[Array, "edges ..."]:
    """Value of an atom field at the atom where each edge arrives: (N, ...) → (E, ...)."""
    return _at_receivers(field, edges)


def at_senders(field: Shaped[Array, "atoms ..."], edges: EdgeIndex) -> Shaped[Array, "edges ..."]:
    """Value of an atom field at the atom from which each edge comes: (N, ...) → (E, ...)."""
    return _at_receivers(field, reversed_edges(edges))


def on_both_edges(
    pairs: Float[Array, "pairs ..."], reverse: ArrayLike = 1
) -> Float[Array, "edges ..."]:
    """Value of a pair on its two edges: (P, ...) → (E, ...).

    Args:
        pairs: values on the first edges of the pairs.
        reverse: what the values are multiplied by on the reverse edges, e.g. −1 for a vector along
            the edge, or an array that broadcasts.
    """
    # Not a concatenation: fused with what follows, XLA would ask at every number on a CPU which
    # half it is in.
    reverse = jnp.broadcast_to(jnp.asarray(reverse, pairs.dtype), pairs.shape[1:])
    both = jnp.stack([jnp.ones_like(reverse), reverse])[:, None] * pairs
    return both.reshape(-1, *pairs.shape[1:])


def sum_at_receivers(
    values: Float[Array, "edges ..."], edges: EdgeIndex
) -> Float[Array, "atoms ..."]:
    """Sum of the edges arriving at each atom: (E, ...) → (N, ...)."""
    return _sum_at_receivers(values, edges)


def to_slots(
    values: Float[Array, "edges ..."], edges: EdgeIndex
) -> Float[Array, "atoms slots ..."]:
    """Rearrange by the atoms at which the edges arrive: (E, ...) → (N, K, ...).

    A sum over neighbors that is a sum over something else too is then one matrix product for each
    atom. Unused slots hold 0.
    """
    return _to_slots(values, edges)


def split_parts(stacked: Float[Array, "atoms components channels"], sizes: Sequence[int]) -> Parts:
    """Components side by side (N, D, F) → per part (N, d, F), of the given sizes."""
    return tuple(lax.split(stacked, sizes, axis=1))


Term = Callable[..., Parts]


def rows(array: Shaped[Array, "rows ..."], indices: Int[Array, "*shape"]) -> Shaped[Array, "..."]:
    """Rows of an array by indices that are known to be valid: neither clamped nor wrapped."""
    return array.at[indices].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _sum_over_slots(term: Term, tables: tuple[Array, ...]) -> Parts:
    """Σ_k term(table[:, k], …) for (N, K) tables; term returns per part (N, d, F)."""
    blocks = tuple(t.T.reshape(-1, SLOT_BLOCK, t.shape[0]) for t in tables)

    def one_block(total: Parts, block: tuple[Array, ...]) -> tuple[Parts, None]:
        for k in range(SLOT_BLOCK):
            added = term(*(b[k] for b in block))
            total = tuple(t + u for t, u in zip(total, added, strict=True))
        return total, None

    shapes = jax.eval_shape(term, *(t[:, 0] for t in tables))
    zero = tuple(jnp.zeros(s.shape, s.dtype) for s in shapes)
    return lax.scan(one_block, zero, blocks)[0]


def _gathered_sum(term: Term, tables: tuple[Array, ...]) -> Parts:
    return tuple(jnp.sum(part, axis=1) for part in term(*tables))


def aggregate(term: Term, *tables: Shaped[Array, "atoms slots"]) -> Parts:
    """Σ_k term(table[:, k], …): sum over the slots of every atom, in the way the backend likes.

    Args:
        term: of one slot of every atom, (N,) of each table, to per part (N, d, F).
        tables: (N, K) each.

    Returns:
        per part (N, d, F).
    """
    return lax.platform_dependent(
        cpu=lambda: _sum_over_slots(term, tables), default=lambda: _gathered_sum(term, tables)
    )


@jax.custom_vjp
def _convolve(filters: Parts, features: Parts, edges: EdgeIndex) -> Parts:
    def term(pair: Array, sender: Array) -> Parts:
        return tuple(
            rows(f, pair) * rows(y, sender) for f, y in zip(filters, features, strict=True)
        )

    return aggregate(term, edges.slots % edges.num_pairs, rows(edges.senders, edges.slots))


def _convolve_backward(residuals, cotangent):
    filters, features, edges = residuals
    return (
        _pair_products(cotangent, features, edges),
        _convolve(filters, cotangent, edges),
        None,
    )


@jax.custom_vjp
def _pair_products(a: Parts, b: Parts, edges: EdgeIndex) -> Parts:
    i, j = edges.receivers[: edges.num_pairs], edges.senders[: edges.num_pairs]
    return tuple(
        jnp.sum(rows(x, i) * rows(y, j) + rows(x, j) * rows(y, i), axis=-2, keepdims=True)
        for x, y in zip(a, b, strict=True)
    )


def _pair_products_backward(residuals, cotangent):
    a, b, edges = residuals
    return _convolve(cotangent, b, edges), _convolve(cotangent, a, edges), None


@jax.custom_vjp
def _collect(geometry: Parts, weights: Parts, edges: EdgeIndex) -> Parts:
    def term(edge: Array) -> Parts:
        return tuple(
            rows(y, edge)[..., :, None] * rows(w, edge)[..., None, :]
            for y, w in zip(geometry, weights, strict=True)
        )

    return aggregate(term, edges.slots)


@jax.custom_vjp
def _weights_cotangent(geometry: Parts, cotangent: Parts, edges: EdgeIndex) -> Parts:
    """∂/∂w of Σ_e y_e · w_e · T_i: per part (E, F)."""
    return tuple(
        jnp.sum(y[:, :, None] * rows(t, edges.receivers), axis=-2)
        for y, t in zip(geometry, cotangent, strict=True)
    )


@jax.custom_vjp
def _geometry_cotangent(weights: Parts, cotangent: Parts, edges: EdgeIndex) -> Parts:
    """∂/∂y of Σ_e y_e · w_e · T_i: per part (E, d)."""
    return tuple(
        jnp.sum(w[:, None, :] * rows(t, edges.receivers), axis=-1)
        for w, t in zip(weights, cotangent, strict=True)
    )


@jax.custom_vjp
def _at_receivers(field: Array, edges: EdgeIndex) -> Array:
    return rows(field, edges.receivers)


@jax.custom_vjp
def _sum_at_receivers(values: Array, edges: EdgeIndex) -> Array:
    """Sum of the edges arriving at each atom, the transpose of `_at_receivers`."""
    # A slot without an edge names the last one, which is padding, but need not hold a zero here.
    used = (edges.slots != 2 * edges.num_pairs - 1).astype(values.dtype)

    def term(edge: Array, weight: Array) -> Parts:
        weight = weight.reshape(weight.shape + (1,) * (values.ndim - 1))
        return (rows(values, edge) * weight,)

    return aggregate(term, edges.slots, used)[0]


def rows_or_zero(
    array: Shaped[Array, "rows ..."], indices: Int[Array, "*shape"]
) -> Shaped[Array, "..."]:
    """Rows of an array, 0 where an index is beyond the last."""
    return array.at[indices].get(mode="fill", fill_value=0, wrap_negative_indices=False)


@jax.custom_vjp
def _to_slots(values: Array, edges: EdgeIndex) -> Array:
    unused = edges.slots == 2 * edges.num_pairs - 1
    return rows_or_zero(values, jnp.where(unused, 2 * edges.num_pairs, edges.slots))


@jax.custom_vjp
def _from_slots(values: Array, edges: EdgeIndex) -> Array:
    """Each edge's value out of its slot, 0 for padding: (N, K, ...) → (E, ...).

    The transpose of `_to_slots`.
    """
    size = edges.slots.size
    numbers = jnp.arange(size, dtype=edges.slots.dtype)
    slot_of_edge = jnp.full(2 * edges.num_pairs, size, numbers.dtype)
    slot_of_edge = slot_of_edge.at[edges.slots.reshape(-1)].set(numbers).at[-1].set(size)
    return rows_or_zero(values.reshape(-1, *values.shape[2:]), slot_of_edge)


class _WithRule(Protocol):
    """What `jax.custom_vjp` makes of a function of values and of where they go."""

    def __call__(self, *arguments: object) -> Array: ...

    def defvjp(
        self, fwd: Callable[..., tuple[object, object]], bwd: Callable[..., tuple[object, ...]]
    ) -> object: ...


def set_transposes(one: _WithRule, other: _WithRule) -> None:
    """Let two functions of values and of where they go be each other's derivative."""
    for function, transpose in ((one, other), (other, one)):
        function.defvjp(
            lambda values, where, function=function: (function(values, where), where),
            lambda where, cotangent, transpose=transpose: (transpose(cotangent, where), None),
        )


set_transposes(_at_receivers, _sum_at_receivers)
set_transposes(_to_slots, _from_slots)


def _collect_backward(residuals, cotangent):
    geometry, weights, edges = residuals
    return (
        _geometry_cotangent(weights, cotangent, edges),
        _weights_cotangent(geometry, cotangent, edges),
        None,
    )


def _weights_cotangent_backward(residuals, cotangent):
    geometry, field, edges = residuals
    return (
        _geometry_cotangent(cotangent, field, edges),
        _collect(geometry, cotangent, edges),
        None,
    )


def _geometry_cotangent_backward(residuals, cotangent):
    weights, field, edges = residuals
    return (
        _weights_cotangent(cotangent, field, edges),
        _collect(cotangent, weights, edges),
        None,
    )


_convolve.defvjp(keeping_inputs(_convolve), _convolve_backward)
_pair_products.defvjp(keeping_inputs(_pair_products), _pair_products_backward)
_collect.defvjp(keeping_inputs(_collect), _collect_backward)
_weights_cotangent.defvjp(keeping_inputs(_weights_cotangent), _weights_cotangent_backward)
_geometry_cotangent.defvjp(keeping_inputs(_geometry_cotangent), _geometry_cotangent_backward)
