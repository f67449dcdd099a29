"""What the kernels of `path_message` do: sums and products of one atom, or of one pair's edges."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from tensornet_jax.ops.kernels.launch import Ref
from tensornet_jax.ops.kernels.path_terms import Entry, PathTerms, Place


class _Slots(NamedTuple):
    """Edges of some slots, (S,) each: pair, reverse edge, atom at the other end, whether used."""

    edge: Array
    pair: Array
    reverse: Array
    sender: Array
    used: Array


def _read_slots(slots: Ref, senders: Ref, atom: Array, turn: Array, taken: int) -> _Slots:
    import jax.experimental.pallas as pl

    num_edges = senders.shape[0]
    num_pairs = num_edges // 2
    edge = slots[atom, pl.ds(turn * taken, taken)]
    is_first = edge < num_pairs
    pair = jnp.where(is_first, edge, edge - num_pairs)
    reverse = jnp.where(is_first, edge + num_pairs, pair)
    return _Slots(edge, pair, reverse, senders[edge], edge != num_edges - 1)


def _over_slots(
    slots: Ref,
    taken: int,
    width: int,
    dtype: DTypeLike,
    number: int,
    add: Callable[..., list[Array]],
) -> tuple[Array, ...]:
    """Sums (width,) of what `add` adds in each turn to `number` arrays (taken, width)."""
    zeros = (jnp.zeros((taken, width), dtype),) * number

    def turn(index: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(add(index, list(sums)))

    sums = lax.fori_loop(0, jnp.int32(slots.shape[1] // taken), turn, zeros)
    return tuple(jnp.sum(each, axis=0) for each in sums)


def message_kernel(
    terms: PathTerms,
    width: int,
    taken: int,
    slots: Ref,
    senders: Ref,
    weights: Ref,
    features: Ref,
    harmonics: Ref,
    *found: Ref,
) -> None:
    """∂Φ/∂T of one atom and `width` channels, over `taken` slots in each turn."""
    import jax.experimental.pallas as pl

    atom, first_channel = pl.program_id(0), pl.program_id(1) * width
    number = {place: index for index, place in enumerate(terms.places)}

    def add(turn: Array, sums: list[Array]) -> list[Array]:
        at = _read_slots(slots, senders, atom, turn, taken)
        channels = pl.ds(first_channel, width)
        own = [features[at.sender, a, channels] for a in range(terms.num_components[0])]
        y = [jnp.where(at.used, harmonics[at.edge, b], 0) for b in range(terms.num_components[1])]
        for path, entries in enumerate(terms.by_path):
            weight = weights[at.pair, path, channels]
            weighted = {a: own[a] * weight for a in dict.fromkeys(entry.first for entry in entries)}
            for entry in entries:
                here = number[entry.place]
                sums[here] = sums[here] + _coefficient(entry, y) * weighted[entry.first]
        return sums

    sums = _over_slots(slots, taken, width, features.dtype, len(number), add)
    total = features.shape[-1]
    for place, value in zip(terms.places, sums, strict=True):
        channels = pl.ds(place.copy * total + first_channel, width)
        found[place.degree][atom, place.order, channels] = value


def features_kernel(
    terms: PathTerms,
    width: int,
    taken: int,
    slots: Ref,
    senders: Ref,
    weights: Ref,
    harmonics: Ref,
    *fields_and_found: Ref,
) -> None:
    """∂Φ/∂h of one atom and `width` channels, over `taken` slots in each turn."""
    import jax.experimental.pallas as pl

    *fields, found = fields_and_found
    atom, first_channel = pl.program_id(0), pl.program_id(1) * width
    channels = first_channel, width, weights.shape[-1]

    def add(turn: Array, sums: list[Array]) -> list[Array]:
        at = _read_slots(slots, senders, atom, turn, taken)
        y = [
            jnp.where(at.used, harmonics[at.reverse, b], 0) for b in range(terms.num_components[1])
        ]
        for path, entries in enumerate(terms.by_path):
            weight = weights[at.pair, path, pl.ds(first_channel, width)]
            field = _read_field(fields, entries, at.sender, channels)
            added: dict[int, Array] = {}
            for entry in entries:
                value = _coefficient(entry, y) * field[entry.place]
                added[entry.first] = added.get(entry.first, 0) + value
            for a, value in added.items():
                sums[a] = sums[a] + weight * value
        return sums

    sums = _over_slots(slots, taken, width, weights.dtype, terms.num_components[0], add)
    for a, value in enumerate(sums):
        found[atom, a, pl.ds(first_channel, width)] = value


def edge_kernel(
    terms: PathTerms,
    width: int,
    taken: int,
    receivers: Ref,
    senders: Ref,
    weights: Ref,
    features: Ref,
    harmonics: Ref,
    *fields_and_found: Ref,
) -> None:
    """∂Φ/∂w and ∂Φ/∂Y of the edges of `taken` pairs, the latter summed over `width` channels."""
    import jax.experimental.pallas as pl

    *fields, of_weights, of_harmonics = fields_and_found
    num_pairs, _, total = weights.shape
    block, first_channel = pl.program_id(1), pl.program_id(1) * width
    channels = pl.ds(first_channel, width)
    pairs = pl.ds(pl.program_id(0) * taken, taken)
    own_weights = [weights[pairs, path, channels] for path in range(len(terms.by_path))]
    added_weights = [jnp.zeros((taken, width), weights.dtype)] * len(own_weights)
    for edge in (pairs, pl.ds(pairs.start + num_pairs, taken)):
        sender, receiver = senders[edge], receivers[edge]
        own = [features[sender, a, channels] for a in range(terms.num_components[0])]
        y = [harmonics[edge, b] for b in range(terms.num_components[1])]
        added = [jnp.zeros((taken, width), weights.dtype)] * len(y)
        for path, entries in enumerate(terms.by_path):
            field = _read_field(fields, entries, receiver, (first_channel, width, total))
            for entry in entries:
                product = own[entry.first] * field[entry.place]
                added_weights[path] = added_weights[path] + _coefficient(entry, y) * product
                product = own_weights[path] * product
                for b, factor in entry.factors:
                    added[b] = added[b] + factor * product
        for b, value in enumerate(added):
            of_harmonics[block, edge, b] = jnp.sum(value, axis=1)
    for path, value in enumerate(added_weights):
        of_weights[pairs, path, channels] = value


def _coefficient(entry: Entry, harmonics: list[Array]) -> Array:
    """Σ_b C Y_b as a column."""
    total = jnp.zeros_like(harmonics[0])
    for b, factor in entry.factors:
        total = total + factor * harmonics[b]
    return total[:, None]


def _read_field(
    fields: list[Ref], entries: tuple[Entry, ...], atoms: Array, channels: tuple[Array, int, int]
) -> dict[Place, Array]:
    """The components of a field T of the atoms that a path leads to, (S, width) each.

    channels: first one and number of those to read, and of all.
    """
    import jax.experimental.pallas as pl

    first_channel, width, total = channels
    found = {}
    for place in dict.fromkeys(entry.place for entry in entries):
        here = pl.ds(place.copy * total + first_channel, width)
        found[place] = fields[place.degree][atoms, place.order, here]
    return found
