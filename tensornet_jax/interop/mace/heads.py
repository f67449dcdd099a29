"""The heads of a mace-torch model with several: each as a model with one, and all together again.

Their read-outs stand side by side in one tensor, and e3nn divides by the root of all their hidden
channels, those of other heads included. Weights that lead from one head to another are there too,
and no energy depends on them.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from tensornet_jax.interop.mace.arguments import head_names
from tensornet_jax.interop.mace.layouts import Arrays
from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.runtime.sealed_file import Json

ENERGIES = "atomic_energies_fn.atomic_energies"
SCALES = ("scale_shift.scale", "scale_shift.shift")
READ_OUTS = ("readouts.", "embedding_readout.")
"""Beginnings of names of what is each head's own besides `ENERGIES` and `SCALES`."""
ORIGINALS = "read_outs"
"""Of a potential's metadata: `originals_of` the model that it was converted from."""
WITH_AXIS = "axis_of_heads"
"""The same: `with_axis_of_heads`."""
_BETWEEN_HEADS = ("linear_2.weight", "linear_mid.weight")
_OF_ALL_HEADS = ("atomic_inter_scale", "atomic_inter_shift", "atomic_energies")


class _Part(NamedTuple):
    """Where one head stands in a tensor of all heads."""

    shape: tuple[int, ...]
    place: tuple[int | slice, ...]
    factor: float

    def of(self, whole: np.ndarray) -> np.ndarray:
        """Return the tensor of a model with this head alone."""
        found = whole.reshape(self.shape)[self.place].ravel()
        return found if self.factor == 1.0 else (found / self.factor).astype(whole.dtype)


def _part(layer: str, width: int, number: int, count: int) -> _Part:
    """Return the place of a head.

    Args:
        layer: of the read-out, and which of its tensors, such as linear_2.weight.
        width: of the hidden layer of one head.
        number: of the head.
        count: of heads.
    """
    every, root = slice(None), float(np.sqrt(count))
    if layer == "linear.weight":
        return _Part((-1, count), (every, number), 1.0)
    if layer == "linear_1.weight":
        return _Part((-1, count, width), (every, number), 1.0)
    if layer == "linear_mid.weight":
        return _Part((count, width, count, width), (number, every, number), root)
    if layer == "linear_2.weight":
        return _Part((count, width, count), (number, every, number), root)
    # Biases.
    return _Part((count, -1), (number,), 1.0)


def with_one_head(
    state: Mapping[str, np.ndarray], arguments: Settings, head: str | None
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Return state dict and arguments of the model that is left of one when a head is chosen.

    Args:
        state: mace-torch's names → arrays.
        arguments: of ScaleShiftMACE.
        head: name of the head; None for the first.

    Raises:
        ValueError: there is no head of that name, or the state dict has another number of heads.
    """
    names = head_names(arguments)
    if head is not None and head not in names:
        raise ValueError(f"this model has no head {head!r}, only {', '.join(names)}")
    number, count = names.index(head or names[0]), len(names)
    found = dict(state)
    if ENERGIES in state:
        there = len(np.atleast_2d(state[ENERGIES]))
        if there != count:
            raise ValueError(
                f"{ENERGIES} has energies of {there} heads, and the arguments name the heads "
                f"{', '.join(names)}"
            )
        found[ENERGIES] = np.atleast_2d(state[ENERGIES])[number]
    for name in SCALES:
        if name in state:
            each = np.atleast_1d(state[name])
            found[name] = each[number if len(each) > 1 else 0]
    if count > 1:
        for name, layer, width in _read_outs(state, count):
            found[name] = _part(layer, width, number, count).of(state[name])
    kept = {key: value for key, value in arguments.items() if key not in _OF_ALL_HEADS}
    return found, {**kept, "heads": [names[number]]}


def _read_outs(state: Mapping[str, np.ndarray], count: int = 1) -> Iterator[tuple[str, str, int]]:
    """Names of weights and biases of read-outs, what they are there, and one head's width."""
    for name, value in state.items():
        # e3nn's layers without biases have empty ones.
        if name.startswith(READ_OUTS) and name.endswith((".weight", ".bias")) and value.size:
            read_out, layer, kind = name.rsplit(".", 2)
            last = state.get(f"{read_out}.linear_2.weight")
            yield name, f"{layer}.{kind}", 0 if last is None else last.size // count**2


def with_all_heads(
    each: Mapping[str, tuple[Arrays, Json]], originals: Mapping[str, object]
) -> tuple[Arrays, Json]:
    """Return state dict and arguments of one model that has the heads of several.

    Args:
        each: state dict and arguments of each head, by name; as `with_one_head` has them.
        originals: `originals_of` the model that the heads are from, if any. What they agree with
            is written as it was, bit for bit; weights between heads, which nothing depends on, are
            theirs, or 0.
    """
    states, (_, first) = [state for state, _ in each.values()], next(iter(each.values()))
    found: Arrays = dict(states[0])
    for name in found:
        if name == ENERGIES:
            found[name] = np.concatenate([np.atleast_2d(state[name]) for state in states])
        elif name in SCALES or (name.startswith(READ_OUTS) and name.endswith(".output_mask")):
            found[name] = np.concatenate([np.atleast_1d(state[name]) for state in states])
    for name, layer, width in _read_outs(states[0]):
        parts = [_part(layer, width, number, len(each)) for number in range(len(each))]
        found[name] = _together([state[name] for state in states], parts, originals.get(name))
    arguments = first | {"heads": list(each)}
    for key in _OF_ALL_HEADS:
        values = [np.ravel(own[key]).tolist() for _, own in each.values()]
        arguments[key] = values if key == "atomic_energies" else [value[0] for value in values]
    return found, arguments


def _together(each: list[np.ndarray], parts: list[_Part], original: object) -> np.ndarray:
    """A tensor of all heads from that of each."""
    between = len(each) if parts[0].factor != 1.0 else 1
    whole = np.zeros(each[0].size * len(each) * between, each[0].dtype)
    if original is not None and np.size(np.asarray(original)) == whole.size:
        whole = np.array(original, whole.dtype)
    for own, part in zip(each, parts, strict=True):
        if not np.array_equal(part.of(whole), own):
            there = whole.reshape(part.shape)
            there[part.place] = (own * part.factor).reshape(there[part.place].shape)
    return whole


def originals_of(state: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Return what of the read-outs of several heads cannot be told from each of them alone."""
    return {
        name: state[name].ravel().tolist()
        for name, layer, _ in _read_outs(state)
        if layer in _BETWEEN_HEADS
    }


def with_axis_of_heads(state: Mapping[str, np.ndarray]) -> list[str]:
    """Return which constants of a model with one head have an axis for heads all the same."""
    without = {ENERGIES: 1, SCALES[0]: 0, SCALES[1]: 0}
    return [name for name, axes in without.items() if np.ndim(state.get(name, 0)) > axes]
