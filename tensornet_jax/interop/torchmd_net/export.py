"""Write TensorNets as torchmd-net (arXiv:2402.17660) has them."""

import os
from collections.abc import Mapping

import ase.data
import numpy as np
from numpy.typing import ArrayLike

from tensornet_jax.interop.torch.files import write_torch_file
from tensornet_jax.models.config import require_single
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import Potential

MAX_NUM_NEIGHBORS = 128
"""What the files say torchmd-net may reserve for the neighbors of an atom; it raises beyond."""

_RADIAL = {"expnorm": "expnorm", "gaussian": "gauss"}
_OUTPUT_MODEL = {"energy": "Scalar", "dipole": "DipoleMoment"}
_BASE = "representation_model"

Layer = Mapping[str, ArrayLike]
"""The parameters of one layer by name."""

# Options torchmd-net has under names of its own. Whatever else a TensorNet has must be at its
# default, which is what torchmd-net computes.
_EXPRESSIBLE = {
    "name",
    "num_channels",
    "num_layers",
    "num_radial",
    "radial",
    "trainable_radial",
    "activation",
    "cutoff",
    "cutoff_lower",
    "group",
    "so3_convention",
    "heads",
    "levels",
}


def write_checkpoint(
    path: str | os.PathLike[str], potential: Potential, *, so3_convention: str | None = None
) -> None:
    """Write a checkpoint that torchmd-net's `load_model` reads.

    Args:
        path: where to write, by custom ending in .ckpt.
        potential: see `to_state_dict`.
        so3_convention: see `to_state_dict`.

    Raises:
        ImportError: torch is not installed.
        ValueError: torchmd-net cannot express the potential; the message says what of it.
    """
    state, config = to_state_dict(potential, so3_convention=so3_convention)
    named = {f"model.{name}": value for name, value in state.items()}
    write_torch_file(path, {"state_dict": named, "hyper_parameters": config})


def to_state_dict(
    potential: Potential, *, so3_convention: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Return a potential as torchmd-net's state dict and model arguments.

    torchmd-net has a row for every atomic number below ``max_z``. Rows of elements the potential
    does not know are NaN, so that a structure with one of them gets no number that could pass for
    an energy.

    Args:
        potential: a TensorNet with one head.
        so3_convention: for SO(3), which of torchmd-net's two implementations, mirror images of
            each other, is to give the potential's numbers: "python" or, where warp-lang is
            installed, "warp"; by default the one the potential follows itself.

    Returns:
        torch names → arrays in the potential's precision; mean, std and atomic references in
        float64. And torchmd-net's arguments, with the potential's ``elements`` added, which
        torchmd-net ignores and `from_state_dict` reads.

    Raises:
        ValueError: torchmd-net cannot express the potential; the message says what of it.
    """
    config = _checked(potential)
    if so3_convention not in (None, "python", "warp"):
        raise ValueError(f"so3_convention must be 'python' or 'warp', not {so3_convention!r}")
    state = _representation(potential, config)
    if config.group == "SO(3)" and so3_convention not in (None, config.so3_convention):
        # A changes sign with the direction of the edges, and nothing else knows of it.
        for part in ("weight", "bias"):
            state[f"{_BASE}.tensor_embedding.distance_proj2.{part}"] *= -1
    arguments = _arguments(potential, config)
    scale, offset = potential.energy_scale, potential.energy_offset
    if config.heads == ("dipole",):
        # torchmd-net would scale dipoles too.
        scale, offset = 1.0, 0.0
        state["output_model.atomic_mass"] = ase.data.atomic_masses.astype(potential.dtype)
    elif potential.elements.reference_energies.any():
        numbers = list(potential.elements.numbers)
        atomref = np.zeros((max(numbers) + 1, 1))
        atomref[numbers, 0] = potential.elements.reference_energies
        state["prior_model.0.initial_atomref"] = atomref
        state["prior_model.0.atomref.weight"] = atomref
        arguments["prior_model"] = [{"Atomref": {"max_z": len(atomref)}}]
    state |= {"mean": np.array(offset, np.float64), "std": np.array(scale, np.float64)}
    return state, arguments


def _arguments(potential: Potential, config: TensorNetConfig) -> dict[str, object]:
    """The model arguments, without energies of isolated atoms."""
    numbers = list(potential.elements.numbers)
    return {
        "model": "tensornet",
        "embedding_dimension": config.num_channels,
        "num_layers": config.num_layers,
        "num_rbf": config.num_radial,
        "rbf_type": _RADIAL[config.radial],
        "trainable_rbf": config.trainable_radial,
        "activation": config.activation,
        "cutoff_lower": config.cutoff_lower,
        "cutoff_upper": config.cutoff,
        "max_z": max(numbers) + 1,
        "max_num_neighbors": MAX_NUM_NEIGHBORS,
        "equivariance_invariance_group": config.group,
        "static_shapes": False,
        "box_vecs": None,
        "atom_filter": -1,
        "derivative": "energy" in config.heads,
        "output_model": _OUTPUT_MODEL[config.heads[0]],
        "output_mlp_num_layers": 0,
        "reduce_op": "add",
        "prior_model": None,
        "precision": 64 if potential.dtype == "float64" else 32,
        "charge": True,
        "spin": False,
        "elements": numbers,
    }


def _checked(potential: Potential) -> TensorNetConfig:
    config = potential.config
    if not isinstance(config, TensorNetConfig):
        raise ValueError(
            f"a model {config.name!r} cannot be written for torchmd-net, only a tensornet can"
        )
    config.require_one_level()
    require_single(config, "be written for torchmd-net")
    if config.compression:
        raise ValueError(
            "a compressed model keeps splines in place of the layers torchmd-net has: export the "
            "model it was compressed from"
        )
    foreign = [
        f"{name}: {getattr(config, name)!r}"
        for name, field in type(config).model_fields.items()
        if name not in _EXPRESSIBLE and getattr(config, name) != field.get_default()
    ]
    if config.radial not in _RADIAL:
        foreign.insert(0, f"radial: {config.radial!r}")
    if foreign:
        raise ValueError(f"torchmd-net's TensorNet has nothing like {', '.join(foreign)}")
    if len(config.heads) > 1:
        raise ValueError(
            f"torchmd-net has one output a model, this one has heads {', '.join(config.heads)}"
        )
    return config


def _representation(potential: Potential, config: TensorNetConfig) -> dict[str, np.ndarray]:
    """The weights under torch's names, (out, in)."""
    writer = _Writer(potential.dtype)
    params, buffers = potential.variables["params"], potential.variables["buffers"]
    embedding, name = params["embedding"], f"{_BASE}.tensor_embedding"
    radial = {**params.get("radial", {}), **buffers.get("radial", {})}
    torch_names = {"offsets": "offset", "coefficient": "coeff"}
    for ours, value in radial.items():
        writer.put(f"{_BASE}.distance_expansion.{torch_names.get(ours, ours)}", value)
    species = embedding["pair_species"]
    known = np.asarray(species["species"]["embedding"])
    table = np.full((max(potential.elements.numbers) + 1, known.shape[1]), np.nan)
    # Atomic number 0 stands for padding in torchmd-net's static shapes.
    table[0] = 0
    table[list(potential.elements.numbers)] = known
    writer.put(f"{name}.emb.weight", table)
    writer.linear(f"{name}.emb2", species["linear"])
    for k in range(3):
        writer.linear(f"{name}.distance_proj{k + 1}", embedding[f"filters_{k}"])
    writer.linear(f"{name}.linears_scalar.0", embedding["gate_hidden"])
    writer.three(f"{name}.linears_scalar.1", embedding, "gates")
    writer.norm(f"{name}.init_norm", embedding["norm"])
    writer.mixing(name, 0, embedding["mixing"])
    for layer in range(config.num_layers):
        interaction, name = params[f"layers_{layer}"], f"{_BASE}.layers.{layer}"
        for k in range(2):
            writer.linear(f"{name}.linears_scalar.{k}", interaction[f"filter_hidden_{k}"])
        writer.three(f"{name}.linears_scalar.2", interaction, "filters")
        writer.mixing(name, 0, interaction["mixing_before"])
        writer.mixing(name, 3, interaction["mixing_after"])
    writer.norm(f"{_BASE}.out_norm", params["norm"])
    writer.linear(f"{_BASE}.linear", params["linear"])
    readout = params[f"readouts_{config.heads[0]}"]
    writer.linear("output_model.output_network.layers.0", readout["hidden"])
    writer.linear("output_model.output_network.layers.2", readout["output"])
    writer.put(f"{_BASE}.distance.box", np.zeros((3, 3)))
    return writer.state


class _Writer:
    """Collects tensors under torch's names."""

    def __init__(self, dtype: str):
        self.dtype = dtype
        self.state: dict[str, np.ndarray] = {}

    def put(self, name: str, value: ArrayLike) -> None:
        self.state[name] = np.array(value, self.dtype, order="C")

    def linear(self, name: str, layer: Layer) -> None:
        self.put(f"{name}.weight", np.asarray(layer["kernel"]).T)
        if "bias" in layer:
            self.put(f"{name}.bias", layer["bias"])

    def norm(self, name: str, layer: Layer) -> None:
        self.put(f"{name}.weight", layer["scale"])
        self.put(f"{name}.bias", layer["bias"])

    def three(self, name: str, layers: Mapping[str, Layer], ours: str) -> None:
        # One layer of 3F outputs, laid out (3, F), where we have one for each part.
        parts = [layers[f"{ours}_{k}"] for k in range(3)]
        self.put(f"{name}.weight", np.concatenate([np.asarray(p["kernel"]).T for p in parts]))
        self.put(f"{name}.bias", np.concatenate([np.asarray(p["bias"]) for p in parts]))

    def mixing(self, name: str, first: int, layers: Mapping[str, Layer]) -> None:
        for k in range(3):
            self.linear(f"{name}.linears_tensor.{first + k}", layers[f"parts_{k}"])
