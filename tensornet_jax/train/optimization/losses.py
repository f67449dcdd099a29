"""Loss terms: a mean over the labelled components of a batch, for each property.

A weight multiplies the penalty of a label and leaves the number of labels as it is, as in MACE: a
structure of weight 2 pulls twice as hard, in whatever company a batch puts it. (A mean divided by
the sum of weights would undo them where a batch holds one structure.)

A missing label is NaN in the targets. It is replaced before the subtraction as well as masked after
it: zero times NaN is NaN, so masking the result alone would leave NaN in every gradient.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.targets import Targets
from tensornet_jax.ops.segments import sum_of_segments
from tensornet_jax.properties import LABELLED
from tensornet_jax.train.config.run import LossConfig, LossTerm, TensorLossTerm

_SECTIONS = tuple(row.name for row in LABELLED)
_PER_ATOM = frozenset(row.name for row in LABELLED if row.errors_per_atom)

Errors = jax.Array | np.ndarray


def penalty(term: LossTerm) -> Callable[[Errors], Errors]:
    """Return the elementwise penalty of one loss term.

    mse: e²; mae: |e|; huber: e²/2 up to delta and delta·(|e| − delta/2) beyond. The function works
    on numpy and jax arrays alike, so that training and validation share one definition.
    """
    if term.kind == "mse":
        return lambda error: error * error
    if term.kind == "mae":
        return abs
    delta = term.delta
    if term.kind == "huber" and delta is not None:

        def huber(error: Errors) -> Errors:
            size = abs(error)
            inner = size.clip(max=delta)
            return inner * (size - 0.5 * inner)

        return huber
    raise ValueError(f"loss kind {term.kind!r} is none of mse, mae, huber")


def active_terms(loss: LossConfig) -> dict[str, LossTerm]:
    """Return the terms whose weight is not zero, by property."""
    terms = {name: getattr(loss, name) for name in _SECTIONS} | loss.tensors
    return {name: term for name, term in terms.items() if term is not None and term.weight > 0}


def loss_terms(
    predictions: Mapping[str, jax.Array],
    targets: Targets,
    graph: AtomGraph,
    terms: Mapping[str, LossTerm],
    counts: Mapping[str, jax.Array] | None = None,
) -> dict[str, jax.Array]:
    """Return the unweighted loss of each term.

    Args:
        predictions: by property, (B, …) or (N, …) in the units of the table, as far as `terms` asks
            for them; energies without isolated-atom energies.
        targets: the same names and shapes; NaN where a label is missing; weights of structures.
        graph: the batch, for the number of atoms and the masks.
        terms: the terms to compute, by property.
        counts: what sums are divided by: `label_counts` of the whole batch, if this is a shard of
            one, so that terms of all shards sum to those of the batch; None for this graph's.

    Returns:
        One scalar for each term: the mean of weight × penalty over labelled components, 0 where a
        batch holds none; a label of weight 0 is none. The energy error of a structure is divided by
        its number of atoms first, and that of a head by the term's scale.
    """
    counts = label_counts(targets, graph, terms) if counts is None else counts
    inside = graph.node_mask.astype(jnp.int32)
    num_atoms = sum_of_segments(inside, graph.node_graph, graph.num_graphs)
    values = {}
    for name, term in terms.items():
        target = targets.of(name)
        labelled = _labelled(name, targets, graph)
        error = jnp.where(labelled, predictions[name] - jnp.where(labelled, target, 0), 0)
        if name in _PER_ATOM:
            error = error / jnp.maximum(num_atoms, 1).astype(error.dtype)
        error = error / scale_of(term)
        penalties = penalty(term)(error)
        weight = _weight(name, targets, graph)
        if weight is not None:
            penalties = penalties * weight.reshape(-1, *(1,) * (target.ndim - 1))
        count = jnp.maximum(counts[name], 1).astype(error.dtype)
        values[name] = jnp.sum(penalties) / count
    return values


def label_counts(
    targets: Targets, graph: AtomGraph, names: Iterable[str]
) -> dict[str, Int[jax.Array, ""]]:
    """Return the number of labelled components by property; a label of weight 0 is none."""
    return {name: jnp.sum(_labelled(name, targets, graph)) for name in names}


def _labelled(name: str, targets: Targets, graph: AtomGraph) -> Bool[jax.Array, "..."]:
    """Which components of a property have a label."""
    target = targets.of(name)
    owner = graph.node_mask if name in targets.of_atoms else graph.graph_mask
    weight = _weight(name, targets, graph)
    if weight is not None:
        owner = owner & (weight > 0)
    return ~jnp.isnan(target) & owner.reshape(-1, *(1,) * (target.ndim - 1))


def _weight(name: str, targets: Targets, graph: AtomGraph) -> Errors | None:
    """The weight of each row of a property; None where all weigh 1."""
    weight = targets.weights.get(name)
    if weight is None or name not in targets.of_atoms:
        return weight
    return weight[graph.node_graph]


def scale_of(term: LossTerm) -> float:
    """Return what errors are divided by before they are penalized."""
    return (term.scale or 1.0) if isinstance(term, TensorLossTerm) else 1.0


def only(graph: AtomGraph, chosen: jax.Array) -> AtomGraph:
    """Return a graph that takes all structures but the chosen ones (B,) for padding."""
    return graph.replace(
        graph_mask=graph.graph_mask & chosen, node_mask=graph.node_mask & chosen[graph.node_graph]
    )


@overload
def weighted_sum(values: Mapping[str, float], terms: Mapping[str, LossTerm]) -> float: ...
@overload
def weighted_sum(values: Mapping[str, jax.Array], terms: Mapping[str, LossTerm]) -> jax.Array: ...
def weighted_sum(
    values: Mapping[str, float] | Mapping[str, jax.Array], terms: Mapping[str, LossTerm]
) -> jax.Array | float:
    """Return the loss: the sum of weight × value over the terms."""
    return sum(term.weight * values[name] for name, term in terms.items())
