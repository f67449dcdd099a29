"""One head of a mace-torch model with several: a model with one."""

from collections.abc import Mapping

import numpy as np

from tensornet_jax.interop.mace.arguments import head_names
from tensornet_jax.interop.torch.files import Settings

ENERGIES = "atomic_energies_fn.atomic_energies"
SCALES = ("scale_shift.scale", "scale_shift.shift")
_NOT_SPLIT = (".linear_mid.", ".linear_2.bias", "embedding_readout.")
"""Parts of names of read-outs whose layout is not known where there are several heads."""


def with_one_head(
    state: Mapping[str, np.ndarray], arguments: Settings, head: str | None
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Return state dict and arguments of the model that is left of one when a head is chosen.

    Args:
        state: mace-torch's names → arrays.
        arguments: of ScaleShiftMACE.
        head: name of the head; None for the first.

    Raises:
        ValueError: there is no head of that name, the state dict has another number of heads, or
            it has several whose read-outs have biases or see the total charge.
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
        for name, value in state.items():
            # e3nn's layers without biases have empty ones.
            if value.size and any(part in f".{name}" for part in _NOT_SPLIT):
                raise ValueError(
                    f"{name}: read-outs of this kind can be converted of models with one head, "
                    f"and this one has {', '.join(names)}"
                )
        found |= _read_outs(state, number, count)
    of_all_heads = ("atomic_inter_scale", "atomic_inter_shift", "atomic_energies")
    kept = {key: value for key, value in arguments.items() if key not in of_all_heads}
    return found, {**kept, "heads": [names[number]]}


def _read_outs(state: Mapping[str, np.ndarray], number: int, count: int) -> dict[str, np.ndarray]:
    """The read-outs of one head, whose hidden channels stand together."""
    found = {}
    for name, value in state.items():
        read_out, _, layer = name.removesuffix(".weight").rpartition(".")
        if not (name.startswith("readouts.") and name.endswith(".weight")):
            continue
        if layer == "linear":
            found[name] = value.reshape(-1, count)[:, number]
            continue
        width = state[f"{read_out}.linear_2.weight"].size // count**2
        if layer == "linear_1":
            found[name] = value.reshape(-1, count, width)[:, number].ravel()
        elif layer == "linear_2":
            # e3nn divides by the root of all hidden channels, those of other heads included.
            found[name] = value.reshape(count, width, count)[number, :, number] / np.sqrt(count)
    return found
