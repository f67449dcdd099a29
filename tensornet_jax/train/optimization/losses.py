"""Loss terms: a mean over the labelled components of a batch, for each property.

A weight multiplies the penalty of a label and leaves the number of labels as it is, as in MACE: a
structure of weight 2 pulls twice as hard, in whatever company a batch puts it. (A mean divided by
the sum of weights would undo them where a batch holds one structure.)

A missing label is NaN in the targets. It is replaced before the subtraction as well as masked after
it: zero times NaN is NaN, so masking the result alone would leave NaN in every gradient.
"""

from collections.abc import Callable, Mapping
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np

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
) -> dict[str, jax.Array]:
    """Return the unweighted loss of each term.

    Args:
        predictions: by property, (B, …) or (N, …) in the units of the table, as far as `terms` asks
            for them; energies without isolated-atom energies.
        targets: the same names and shapes; NaN where a label is missing; weights of structures.
        graph: the batch, for the number of atoms and the masks.
        terms: the terms to compute, by property.

    Returns:
        One scalar for each term: the mean of weight × penalty over labelled components, 0 where a
        batch holds none; a label of weight 0 is none. The energy error of a structure is divided by
        its number of atoms first, and that of a head by the term's scale.
    """
    inside = graph.node_mask.astype(jnp.int32)
    num_atoms = sum_of_segments(inside, graph.node_graph, graph.num_graphs)
    values = {}
    for name, term in terms.items():
        target = targets.of(name)
        of_atoms = name in targets.of_atoms
        owner = graph.node_mask if of_atoms else graph.graph_mask
        weight = targets.weights.get(name)
        if weight is not None:
            weight = weight[graph.node_graph] if of_atoms else weight
            owner = owner & (weight > 0)
        ones = (1,) * (target.ndim - 1)
        labelled = ~jnp.isnan(target) & owner.reshape(-1, *ones)
        error = jnp.where(labelled, predictions[name] - jnp.where(labelled, target, 0), 0)
        if name in _PER_ATOM:
            error = error / jnp.maximum(num_atoms, 1).astype(error.dtype)
        error = error / scale_of(term)
        count = jnp.maximum(jnp.sum(labelled), 1).astype(error.dtype)
        penalties = penalty(term)(error)
        if weight is not None:
            penalties = penalties * weight.reshape(-1, *ones)
        values[name] = jnp.sum(penalties) / count
    return values


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
