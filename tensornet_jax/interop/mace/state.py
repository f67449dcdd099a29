"""mace-torch's joint embedding of charge and spin, its arguments and how its weights lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensornet_jax.interop.mace.layouts import Arrays, Layout, Single
from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.interop.torch.state_dict import StateDict
from tensornet_jax.models.mace.config import MACEConfig, StateInput
from tensornet_jax.runtime.sealed_file import Json

INPUTS = {"total_charge": "charge", "total_spin": "spin"}
"""Names in mace-torch, and here."""
_NAMES = {own: name for name, own in INPUTS.items()}

_EMBEDDERS = "joint_embedding.embedders"
_CATEGORICAL = {"type", "per", "num_classes", "emb_dim", "offset"}
_CONTINUOUS = {"type", "per", "in_dim", "emb_dim", "use_bias"}
# Where a data file has the value, and what the other kind of input needs.
_IGNORED = {"key", *_CATEGORICAL, *_CONTINUOUS}


def state_settings(arguments: Settings) -> Json:
    """Return the options of `MACEConfig` for arguments of ScaleShiftMACE.

    Raises:
        ValueError: there is an input other than total charge and spin of whole structures, or one
            of a kind that is not known; the message names it.
    """
    specs = arguments.get("embedding_specs") or {}
    if not isinstance(specs, Mapping):
        raise ValueError(f"mace-torch's option embedding_specs: {specs!r} cannot be read")
    inputs = tuple(_input(str(name), spec) for name, spec in specs.items())
    return {
        "electronic_state": tuple(each.name for each in inputs),
        "joint_embedding": inputs,
        "energy_of_state": bool(inputs and arguments.get("use_embedding_readout")),
    }


def embedding_specs(config: MACEConfig) -> dict[str, Json]:
    """Return mace-torch's argument of that name; `state_settings` backwards."""
    found = {}
    for each in config.joint_embedding:
        spec: Json = {"per": "graph", "emb_dim": each.width}
        if each.num_classes is None:
            spec |= {"type": "continuous", "in_dim": 1, "use_bias": each.biases}
        else:
            spec |= {
                "type": "categorical",
                "num_classes": each.num_classes,
                "offset": each.offset,
            }
        found[_NAMES[each.name]] = spec
    return found


def _input(name: str, spec: Json) -> StateInput:
    if name not in INPUTS:
        raise ValueError(
            f"mace-torch's embedding_specs have the input {name}, which is not supported, only "
            f"{' and '.join(INPUTS)}"
        )
    unknown = sorted(set(spec) - _IGNORED)
    if unknown:
        raise ValueError(f"embedding_specs of {name} have {unknown}, not known to this package")
    if spec.get("per", "graph") != "graph" or spec.get("in_dim", 1) != 1:
        raise ValueError(f"embedding_specs of {name}: only one value for each structure is known")
    kind = spec.get("type", "categorical")
    if kind not in ("categorical", "continuous"):
        raise ValueError(f"embedding_specs of {name}: type {kind!r} is not known to this package")
    table = kind == "categorical"
    return StateInput.model_validate(
        {
            "name": INPUTS[name],
            "width": int(spec["emb_dim"]),
            "num_classes": int(spec["num_classes"]) if table else None,
            "offset": int(spec.get("offset", 0)) if table else 0,
            "biases": True if table else bool(spec.get("use_bias", True)),
        }
    )


def with_named_inputs(
    state: Mapping[str, np.ndarray], arguments: Settings
) -> dict[str, np.ndarray]:
    """Return a state dict that names the inputs, which versions after 0.3.16 count instead."""
    found = dict(state)
    for index, name in enumerate(arguments.get("embedding_specs") or ()):
        counted = f"{_EMBEDDERS}.{index}."
        for key in [key for key in found if key.startswith(counted)]:
            found[f"{_EMBEDDERS}.{name}.{key.removeprefix(counted)}"] = found.pop(key)
    return found


@dataclass(frozen=True)
class Transposed:
    """The matrix of torch's Linear."""

    name: str
    path: str
    key: str

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        return {self.key: state.take(self.name).T}

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`."""
        return {self.name: np.ascontiguousarray(parameters[self.key].T)}


def layouts_of_state(config: MACEConfig) -> Sequence[Layout]:
    """Return the layouts of the joint embedding and of the energies that are read out of it."""
    if not config.joint_embedding:
        return []
    found: list[Layout] = []
    for each in config.joint_embedding:
        name = f"{_EMBEDDERS}.{_NAMES[each.name]}"
        if each.num_classes is not None:
            shape = (each.num_classes, each.width)
            found.append(Single(f"{name}.weight", "state", f"{each.name}_table", shape, shape))
            continue
        for own, layer in enumerate((0, 2)):
            found.append(Transposed(f"{name}.{layer}.weight", "state", f"{each.name}_kernel_{own}"))
            if each.biases:
                key, size = f"{each.name}_bias_{own}", (each.width,)
                found.append(Single(f"{name}.{layer}.bias", "state", key, size, size))
    found.append(Transposed("joint_embedding.project.0.weight", "state", "project"))
    if config.energy_of_state:
        shape, flat = (config.num_channels, 1), (config.num_channels,)
        name = "embedding_readout.linear.weight"
        found.append(Single(name, "energy_of_state", "kernel_0", shape, flat))
    return found
