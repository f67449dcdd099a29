"""Features of atoms in the frames of edges, and sums of such features at the atoms.

With rotation matrices D_e, weights w_e and features x of atoms, features y of edges and the sums z
at the atoms are

    y_elmc = w_elc Σ_n D_elmn x_alnc,   z_alnc = Σ_e Σ_m D_elmn w_elc y_elmc

where a is the receiver of e in the first channels of y, and the sender in those that follow: the
channels of an edge are those of its ends. z sums over the edges for which atom l is that end. Both
come from the form Φ(x, w, D, y) = Σ y_elmc w_elc D_elmn x_alnc, linear in each argument. Its
derivatives by y, by x and by (w, D) are three functions, `to_edges`, `to_atoms` and `cotangents`,
whose derivatives are the same functions of other arguments, to any order. Nothing is scattered.

Layouts are those of `EdgeLayout`. The arrays of edges are written once and read as they are by
products of matrices; no gathered or rotated copy is written by the kernels.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels import edge_rotations
from tensornet_jax.ops.kernels.choice import choose
from tensornet_jax.ops.kernels.edge_blocks import fits
from tensornet_jax.ops.messages.edge_index import EdgeIndex, reversed_edges
from tensornet_jax.ops.messages.message import aggregate, rows
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout, Orders

# Kernels write out all entries: more take minutes to compile.
_MOST_ENTRIES = 256


def _to_edges(
    layout: EdgeLayout,
    features: Float[Array, "atoms components channels"],
    weights: Float[Array, "edges degrees both"] | None,
    matrices: Float[Array, "entries edges"],
    edges: EdgeIndex,
) -> Orders:
    """Features of the ends of every edge, in its frame and times its weights.

    Args:
        layout: of features and matrices.
        features: x, (N, (l_max + 1)², C).
        weights: w, (E, l_max + 1, ends · C); None for ones.
        matrices: D, (entries, E).
        edges: connectivity.

    Returns:
        y, see `EdgeLayout`.
    """
    return choose(
        partial(edge_rotations.to_edges, layout),
        partial(_plain_to_edges, layout),
        features,
        weights,
        matrices,
        edges,
        fits=_fits(features.shape[-1], matrices),
    )


def _to_atoms(
    layout: EdgeLayout,
    weights: Float[Array, "edges degrees both"] | None,
    matrices: Float[Array, "entries edges"],
    messages: Orders,
    edges: EdgeIndex,
) -> Float[Array, "atoms components channels"]:
    """Features of edges times their weights, out of the frames and summed at their ends.

    Args:
        layout: of features and matrices.
        weights: w, (E, l_max + 1, ends · C); None for ones.
        matrices: D, (entries, E).
        messages: y, see `EdgeLayout`. Padding edges count as zero.
        edges: connectivity.

    Returns:
        z, (N, (l_max + 1)², C).
    """
    return choose(
        partial(edge_rotations.to_atoms, layout),
        partial(_plain_to_atoms, layout),
        weights,
        matrices,
        messages,
        edges,
        fits=_fits(messages[0].shape[-1] // layout.ends, matrices),
    )


def _cotangents(
    layout: EdgeLayout,
    features: Float[Array, "atoms components channels"],
    weights: Float[Array, "edges degrees both"] | None,
    matrices: Float[Array, "entries edges"],
    messages: Orders,
    edges: EdgeIndex,
) -> tuple[Float[Array, "edges degrees both"] | None, Float[Array, "entries edges"]]:
    """∂Φ/∂w, None without weights, and ∂Φ/∂D.

    Args:
        layout: of features and matrices.
        features: x, (N, (l_max + 1)², C).
        weights: w, (E, l_max + 1, ends · C); None for ones.
        matrices: D, (entries, E).
        messages: y, see `EdgeLayout`.
        edges: connectivity.
    """
    return choose(
        partial(edge_rotations.cotangents, layout),
        partial(_plain_cotangents, layout),
        features,
        weights,
        matrices,
        messages,
        edges,
        fits=_fits(features.shape[-1], matrices),
    )


to_edges = jax.custom_vjp(_to_edges, nondiff_argnums=(0,))
to_atoms = jax.custom_vjp(_to_atoms, nondiff_argnums=(0,))
cotangents = jax.custom_vjp(_cotangents, nondiff_argnums=(0,))


def _to_edges_backward(layout: EdgeLayout, residuals, cotangent):
    features, weights, matrices, edges = residuals
    of_features = to_atoms(layout, weights, matrices, cotangent, edges)
    return of_features, *cotangents(layout, features, weights, matrices, cotangent, edges), None


def _to_atoms_backward(layout: EdgeLayout, residuals, cotangent):
    weights, matrices, messages, edges = residuals
    of_messages = to_edges(layout, cotangent, weights, matrices, edges)
    of_others = cotangents(layout, cotangent, weights, matrices, messages, edges)
    return *of_others, of_messages, None


def _cotangents_backward(layout: EdgeLayout, residuals, cotangent):
    features, weights, matrices, messages, edges = residuals
    new_weights, new_matrices = cotangent
    of_features = to_atoms(layout, weights, new_matrices, messages, edges)
    of_messages = to_edges(layout, features, weights, new_matrices, edges)
    if weights is None:
        return of_features, None, jnp.zeros_like(matrices), of_messages, None
    of_features += to_atoms(layout, new_weights, matrices, messages, edges)
    others = to_edges(layout, features, new_weights, matrices, edges)
    of_messages = tuple(a + b for a, b in zip(of_messages, others, strict=True))
    # By w, Φ(x, w, D', y); by D, Φ(x, w', D, y): each lacks what the other varies.
    of_others = cotangents(layout, features, new_weights, new_matrices, messages, edges)
    return of_features, *of_others, of_messages, None


to_edges.defvjp(keeping_inputs(to_edges, 1), _to_edges_backward)
to_atoms.defvjp(keeping_inputs(to_atoms, 1), _to_atoms_backward)
cotangents.defvjp(keeping_inputs(cotangents, 1), _cotangents_backward)


def _plain_to_edges(
    layout: EdgeLayout, features: Array, weights: Array | None, matrices: Array, edges: EdgeIndex
) -> Orders:
    turned = _turned(layout, features, matrices, edges)
    if weights is not None:
        turned = [part * weights[:, degree, None] for degree, part in enumerate(turned)]
    return _by_order(layout, turned)


def _plain_to_atoms(
    layout: EdgeLayout,
    weights: Array | None,
    matrices: Array,
    messages: Orders,
    edges: EdgeIndex,
) -> Array:
    parts = []
    for degree, (part, block) in enumerate(
        zip(_by_degree(layout, messages), _blocks(layout, matrices), strict=True)
    ):
        part = part if weights is None else part * weights[:, degree, None]
        parts.append(jnp.einsum("mne,emc->enc", block, part, precision=lax.Precision.HIGHEST))
    values = jnp.concatenate(parts, axis=1)
    used = (edges.slots != 2 * edges.num_pairs - 1).astype(values.dtype)
    total = 0.0
    for index, part in zip(
        (edges, reversed_edges(edges)), jnp.split(values, layout.ends, axis=-1), strict=False
    ):
        total = total + aggregate(partial(_weighted_rows, part), index.slots, used)[0]
    return jnp.asarray(total)


def _weighted_rows(values: Array, edge: Array, weight: Array) -> tuple[Array]:
    return (rows(values, edge) * weight[..., None, None],)


def _plain_cotangents(
    layout: EdgeLayout,
    features: Array,
    weights: Array | None,
    matrices: Array,
    messages: Orders,
    edges: EdgeIndex,
) -> tuple[Array | None, Array]:
    own = _by_degree(layout, messages)
    of_weights = None
    if weights is not None:
        turned = _turned(layout, features, matrices, edges)
        products = [jnp.sum(a * b, axis=1) for a, b in zip(own, turned, strict=True)]
        of_weights = jnp.stack(products, axis=1)
        own = [part * weights[:, degree, None] for degree, part in enumerate(own)]
    gathered = _gathered(layout, features, edges)
    found = [
        jnp.einsum(
            "emc,enc->mne",
            part,
            gathered[:, _slice(layout.components(degree))],
            precision=lax.Precision.HIGHEST,
        ).reshape(-1, matrices.shape[-1])
        for degree, part in enumerate(own)
    ]
    return of_weights, jnp.concatenate(found)


def _fits(channels: int, matrices: Array) -> bool:
    return matrices.shape[0] <= _MOST_ENTRIES and fits(matrices.shape[-1], channels, matrices)


def _slice(found: range) -> slice:
    return slice(found.start, found.stop)


def _gathered(layout: EdgeLayout, features: Array, edges: EdgeIndex) -> Array:
    """(E, components, ends · C)."""
    ends = (edges.receivers, edges.senders)[: layout.ends]
    return jnp.concatenate([rows(features, end) for end in ends], axis=-1)


def _blocks(layout: EdgeLayout, matrices: Array) -> list[Array]:
    """The matrices by degree, (orders, components, E) each."""
    shapes = [(len(layout.orders(degree)), 2 * degree + 1) for degree in layout.degrees]
    stops = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    parts = jnp.split(matrices, stops)
    return [part.reshape(*shape, -1) for part, shape in zip(parts, shapes, strict=True)]


def _turned(layout: EdgeLayout, features: Array, matrices: Array, edges: EdgeIndex) -> list[Array]:
    """Features of the ends in the frames by degree, (E, orders, ends · C) each."""
    gathered = _gathered(layout, features, edges)
    return [
        jnp.einsum(
            "mne,enc->emc",
            block,
            gathered[:, _slice(layout.components(degree))],
            precision=lax.Precision.HIGHEST,
        )
        for degree, block in enumerate(_blocks(layout, matrices))
    ]


def _by_order(layout: EdgeLayout, parts: list[Array]) -> Orders:
    """Features of edges by degree, (E, orders, channels) each, as `EdgeLayout` has them."""
    found = []
    for order in range(layout.m_max + 1):
        signs = (order, -order) if order else (0,)
        degrees = layout.degrees[order:]
        chosen = [
            [parts[degree][:, layout.orders(degree).index(sign)] for degree in degrees]
            for sign in signs
        ]
        found.append(jnp.stack([jnp.stack(part, axis=1) for part in chosen], axis=1))
    return tuple(found)


def _by_degree(layout: EdgeLayout, messages: Orders) -> list[Array]:
    """The inverse of `_by_order`."""
    found = []
    for degree in layout.degrees:
        places = [layout.place(degree, order) for order in layout.orders(degree)]
        found.append(jnp.stack([messages[a][:, sign, row] for a, sign, row in places], axis=1))
    return found
