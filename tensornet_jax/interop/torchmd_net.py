"""Read TensorNets of torchmd-net (arXiv:2402.17660) from its checkpoints or numpy state dicts.

The names of the weights and their layout are those of torchmd-net 3; see `from_state_dict`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ase.data
import numpy as np

from tensornet_jax.interop.state_dict import StateDict
from tensornet_jax.interop.tensornet_weights import embedding_weights, interaction_weights
from tensornet_jax.interop.torchmd_net_export import to_state_dict
from tensornet_jax.interop.torchmd_net_files import MODEL_ARGUMENTS, Layout, read_checkpoint
from tensornet_jax.models.tensornet_config import TensorNetConfig
from tensornet_jax.potential import ElementTable, Potential

__all__ = ["from_checkpoint", "from_state_dict", "to_state_dict"]

_RADIAL = {"expnorm": "expnorm", "gauss": "gaussian"}
_ACTIVATION = {
    "silu": "silu",
    "swish": "silu",
    "ssp": "ssp",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "mish": "mish",
}
_HEAD = {"Scalar": "energy", "DipoleMoment": "dipole"}
_SPECIES = "representation_model.tensor_embedding.emb.weight"
_DTYPE = {16: "float32", 32: "float32", 64: "float64"}


def from_checkpoint(
    path: str | os.PathLike[str],
    *,
    so3_convention: str | None = None,
    layout: Layout = "auto",
    elements: Sequence[int] | None = None,
    dtype: str | None = None,
) -> Potential:
    """Build the potential of a file that torchmd-net's training wrote.

    Args:
        path: a Lightning checkpoint (.ckpt, needs torch), or an .npz; see `read_checkpoint`.
        so3_convention: as in `from_state_dict`. May be left out for O(3), and for the old layout:
            the Warp kernels came with the new one.
        layout: how the file lays out the filters; "auto" to tell from its settings.
        elements: atomic numbers the model was trained on. By default all below ``max_z``, most of
            which no checkpoint of torchmd-net was trained on, and none says so.
        dtype: "float32" or "float64"; by default what ``precision`` says.

    Returns:
        a potential; its metadata say which layout and convention were assumed.

    Raises:
        ImportError: a checkpoint, and torch is not installed.
        ValueError: as in `from_state_dict`; the file is of another kind or refused; an SO(3) model
            of the new layout without ``so3_convention``.
    """
    checkpoint = read_checkpoint(path, layout)
    config = checkpoint.config
    if elements is not None:
        config["elements"] = [int(number) for number in elements]
    if so3_convention is None:
        if config.get("equivariance_invariance_group") == "SO(3)" and checkpoint.layout == "(3,F)":
            raise ValueError(
                f"{path} holds an SO(3) model: say which of torchmd-net's two implementations, "
                "mirror images of each other, it was trained with: so3_convention 'warp' where "
                "warp-lang was installed, else 'python'"
            )
        so3_convention = "python"
    potential = from_state_dict(
        checkpoint.state, config, so3_convention=so3_convention, dtype=dtype
    )
    metadata = {
        "source": "torchmd-net",
        "layout": checkpoint.layout,
        "so3_convention": so3_convention,
        "config": {key: config[key] for key in MODEL_ARGUMENTS if key in config},
    }
    return potential.replace(metadata=metadata)


def from_state_dict(
    state: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    *,
    so3_convention: str = "python",
    dtype: str | None = None,
) -> Potential:
    """Build the potential of a torchmd-net checkpoint.

    Args:
        state: torchmd-net's names → arrays; a leading "model." is ignored.
        config: torchmd-net's model arguments (its ``hparams``): ``model``,
            ``embedding_dimension``, ``num_layers``, ``num_rbf``, ``rbf_type``, …; besides, as
            `to_state_dict` writes it, ``elements``, the atomic numbers the model is for.
        so3_convention: "python" or "warp", for ``equivariance_invariance_group: SO(3)``: which of
            torchmd-net's two implementations the model was trained with. They are mirror images.
        dtype: "float32" or "float64"; by default what ``precision`` says.

    Returns:
        a potential whose elements are those of ``elements``, or else all atomic numbers below
        ``max_z``.

    Raises:
        ValueError: the checkpoint has something this package does not, or lacks, has too much of
            or misshapes a tensor; the message names it.
    """
    state = {name.removeprefix("model."): np.asarray(value) for name, value in state.items()}
    model = _model_config(config, so3_convention)
    max_z = int(config.get("max_z", 100))
    numbers = _elements(config, max_z)
    atomref = state.get("prior_model.0.atomref.weight", np.zeros((max_z, 1)))[:max_z, 0]
    energies = np.zeros(max_z)
    energies[: len(atomref)] = atomref
    if len(state.get(_SPECIES, ())) == max_z:
        state[_SPECIES] = state[_SPECIES][list(numbers)]
    potential = Potential(
        model,
        {},
        ElementTable(numbers, energies[list(numbers)]),
        dtype=dtype or _DTYPE[int(config.get("precision", 32))],
        energy_scale=float(state.get("std", 1.0)),
        energy_offset=float(state.get("mean", 0.0)),
    )
    _check_masses(state)
    tensors = StateDict(state, _NOT_WEIGHTS)
    variables = tensors.into(potential, _variables(tensors, model))
    return potential.replace(
        variables=variables, metadata={"source": "torchmd-net", "config": dict(config)}
    )


def _elements(config: Mapping[str, Any], max_z: int) -> tuple[int, ...]:
    numbers = tuple(config.get("elements") or range(max_z))
    beyond = [number for number in numbers if not 0 <= number < max_z]
    if beyond:
        raise ValueError(
            f"elements {beyond}: the checkpoint's atomic numbers are below max_z = {max_z}"
        )
    return numbers


def _model_config(config: Mapping[str, Any], so3_convention: str) -> TensorNetConfig:
    _require(config, "model", {"tensornet"})
    _require(config, "rbf_type", set(_RADIAL))
    _require(config, "activation", set(_ACTIVATION))
    _require(config, "output_model", set(_HEAD))
    _require(config, "reduce_op", {"add", "sum"})
    for prior in config.get("prior_model") or []:
        name = prior if isinstance(prior, str) else next(iter(prior))
        if name != "Atomref":
            raise ValueError(f"torchmd-net prior {name!r} is not supported, only Atomref is")
    return TensorNetConfig.model_validate(
        {
            "num_channels": config["embedding_dimension"],
            "num_layers": config["num_layers"],
            "num_radial": config["num_rbf"],
            "radial": _RADIAL[config["rbf_type"]],
            "trainable_radial": config.get("trainable_rbf", False),
            "activation": _ACTIVATION[config["activation"]],
            "cutoff": config["cutoff_upper"],
            "cutoff_lower": config.get("cutoff_lower", 0.0),
            "group": config.get("equivariance_invariance_group", "O(3)"),
            "so3_convention": so3_convention,
            "heads": (_HEAD[config.get("output_model", "Scalar")],),
        }
    )


def _require(config: Mapping[str, Any], key: str, known: set[str]) -> None:
    default = {"output_model": "Scalar", "reduce_op": "add"}.get(key)
    value = config.get(key, default)
    if value not in known:
        raise ValueError(
            f"torchmd-net option {key}: {value!r} is not supported, only {', '.join(sorted(known))}"
        )


def _check_masses(state: Mapping[str, np.ndarray]) -> None:
    masses = state.get("output_model.atomic_mass")
    if masses is not None and not np.allclose(
        masses, ase.data.atomic_masses[: len(masses)], rtol=1e-6
    ):
        raise ValueError(
            "output_model.atomic_mass differs from ASE's atomic masses, which the dipole head uses"
        )


# What torchmd-net stores that is not a weight, or is read elsewhere.
_NOT_WEIGHTS = (
    "mean",
    "std",
    "representation_model.distance.box",
    "prior_model.0.initial_atomref",
    "prior_model.0.atomref.weight",
    "output_model.atomic_mass",
)


def _variables(state: StateDict, config: TensorNetConfig) -> dict[str, Any]:
    base = "representation_model"
    head = "output_model.output_network.layers"
    params: dict[str, Any] = {
        "embedding": embedding_weights(state, f"{base}.tensor_embedding"),
        "norm": state.norm(f"{base}.out_norm"),
        "linear": state.linear(f"{base}.linear"),
        f"readouts_{config.heads[0]}": {
            "hidden": state.linear(f"{head}.0"),
            "output": state.linear(f"{head}.2"),
        },
    }
    for k in range(config.num_layers):
        params[f"layers_{k}"] = interaction_weights(state, f"{base}.layers.{k}")
    names = {"expnorm": ("means", "betas"), "gaussian": ("offsets", "coefficient")}
    torch_names = {"offsets": "offset", "coefficient": "coeff"}
    radial = {
        name: state.take(f"{base}.distance_expansion.{torch_names.get(name, name)}")
        for name in names[config.radial]
    }
    buffers: dict[str, Any] = {}
    (params if config.trainable_radial else buffers)["radial"] = radial
    return {"params": params, "buffers": buffers}
