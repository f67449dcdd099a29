"""Read TensorNets of torchmd-net (arXiv:2402.17660) from its checkpoints or numpy state dicts.

The names of the weights and their layout are those of torchmd-net 3; see `from_state_dict`.
"""

import os
from collections.abc import Mapping, Sequence

import ase.data
import numpy as np

from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.interop.torch.state_dict import StateDict, Weights
from tensornet_jax.interop.torchmd_net import tensornet2_weights as tensornet2
from tensornet_jax.interop.torchmd_net.export import to_state_dict
from tensornet_jax.interop.torchmd_net.files import MODEL_ARGUMENTS, Layout, read_checkpoint
from tensornet_jax.interop.torchmd_net.priors import TorchPriors, read_priors
from tensornet_jax.interop.torchmd_net.tensornet_weights import (
    embedding_weights,
    filters_by_part,
    interaction_weights,
    mixings,
)
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.units import conversion_factor

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
_HEADS = {
    "tensornet": _HEAD,
    "tensornet2": {"Scalar": "energy", tensornet2.WEIGHTED_COULOMB: "energy"},
}
_SPECIES = "representation_model.tensor_embedding.emb.weight"
_DTYPE = {16: "float32", 32: "float32", 64: "float64"}


def from_checkpoint(
    path: str | os.PathLike[str],
    *,
    so3_convention: str | None = None,
    layout: Layout = "auto",
    elements: Sequence[int] | None = None,
    energy_unit: str = "eV",
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
        energy_unit: as in `from_state_dict`.
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
        config = {**config, "elements": [int(number) for number in elements]}
    if so3_convention is None:
        if config.get("equivariance_invariance_group") == "SO(3)" and checkpoint.layout == "(3,F)":
            raise ValueError(
                f"{path} holds an SO(3) model: say which of torchmd-net's two implementations, "
                "mirror images of each other, it was trained with: so3_convention 'warp' where "
                "warp-lang was installed, else 'python'"
            )
        so3_convention = "python"
    potential = from_state_dict(
        checkpoint.state,
        config,
        so3_convention=so3_convention,
        energy_unit=energy_unit,
        dtype=dtype,
    )
    metadata = {
        "source": "torchmd-net",
        "layout": checkpoint.layout,
        "so3_convention": so3_convention,
        "energy_unit": energy_unit,
        "config": {key: config[key] for key in MODEL_ARGUMENTS if key in config},
    }
    return potential.replace(metadata=metadata)


def from_state_dict(
    state: Mapping[str, np.ndarray],
    config: Settings,
    *,
    so3_convention: str = "python",
    energy_unit: str = "eV",
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
        energy_unit: of the energies it was trained on, e.g. "kcal/mol"; checkpoints do not say.
            Lengths are in Å.
        dtype: "float32" or "float64"; by default what ``precision`` says.

    Returns:
        a potential whose elements are those of ``elements``, or else all atomic numbers below
        ``max_z``; with a D2 prior only those that D2 has parameters for.

    Raises:
        ValueError: the checkpoint has something this package does not, or lacks, has too much of
            or misshapes a tensor; the message names it.
    """
    state = {name.removeprefix("model."): np.asarray(value) for name, value in state.items()}
    unit = conversion_factor(energy_unit, "energy")
    scale = unit * float(state.get("std", 1.0))
    priors = read_priors(state, config, unit)
    model = _model_config(state, config, so3_convention, priors, scale)
    max_z = int(config.get("max_z", 100))
    numbers = _elements(config, max_z, priors)
    energies = np.zeros(max_z)
    if priors.atomic_energies:
        atomref = unit * np.asarray(state[priors.atomic_energies], np.float64)[:max_z, 0]
        energies[: len(atomref)] = atomref
    if len(state.get(_SPECIES, ())) == max_z:
        state[_SPECIES] = state[_SPECIES][list(numbers)]
    potential = Potential(
        model,
        {},
        ElementTable(numbers, energies[list(numbers)]),
        dtype=dtype or _DTYPE[int(config.get("precision", 32))],
        energy_scale=scale,
        energy_offset=unit * float(state.get("mean", 0.0)),
    )
    _check_masses(state)
    tensors = StateDict(state, (*_NOT_WEIGHTS, *priors.tensors))
    variables = tensors.into(potential, _variables(tensors, model))
    return potential.replace(
        variables=variables, metadata={"source": "torchmd-net", "config": dict(config)}
    )


def _elements(config: Settings, max_z: int, priors: TorchPriors) -> tuple[int, ...]:
    known = tuple(number for number in priors.elements or range(max_z) if number < max_z)
    numbers = tuple(config.get("elements") or known)
    beyond = [number for number in numbers if number not in known]
    if beyond:
        raise ValueError(
            f"elements {beyond}: the checkpoint's atomic numbers are below max_z = {max_z}, and "
            "those its priors have parameters for"
        )
    return numbers


def _model_config(
    state: Mapping[str, np.ndarray],
    config: Settings,
    so3_convention: str,
    priors: TorchPriors,
    scale: float,
) -> TensorNetConfig | TensorNet2Config:
    _require(config, "model", set(_HEADS))
    _require(config, "rbf_type", set(_RADIAL))
    _require(config, "activation", set(_ACTIVATION))
    heads = _HEADS[config["model"]]
    _require(config, "output_model", set(heads))
    _require(config, "reduce_op", {"add", "sum"})
    settings = {
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
        "heads": (heads[config.get("output_model", "Scalar")],),
    }
    if config["model"] == "tensornet":
        return TensorNetConfig.model_validate({**settings, "priors": priors.sections})
    sections = list(priors.sections)
    if config.get("repulsion"):
        sections.insert(0, tensornet2.repulsion_prior(state, scale))
    settings |= tensornet2.charge_settings(state, config, scale)
    return TensorNet2Config.model_validate({**settings, "priors": sections})


def _require(config: Settings, key: str, known: set[str]) -> None:
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
    "output_model.atomic_mass",
    *tensornet2.NOT_WEIGHTS,
)


_BASE = "representation_model"


def _variables(state: StateDict, config: TensorNetConfig | TensorNet2Config) -> Weights:
    own = (
        _tensornet2_layers(state, config)
        if isinstance(config, TensorNet2Config)
        else _tensornet_layers(state, config)
    )
    params: dict[str, Weights] = {
        **own,
        "embedding": embedding_weights(state, f"{_BASE}.tensor_embedding"),
        "norm": state.norm(f"{_BASE}.out_norm"),
        "linear": state.linear(f"{_BASE}.linear"),
    }
    names = {"expnorm": ("means", "betas"), "gaussian": ("offsets", "coefficient")}
    torch_names = {"offsets": "offset", "coefficient": "coeff"}
    radial = {
        name: state.take(f"{_BASE}.distance_expansion.{torch_names.get(name, name)}")
        for name in names[config.radial]
    }
    if config.trainable_radial:
        return {"params": {**params, "radial": radial}, "buffers": {}}
    return {"params": params, "buffers": {"radial": radial}}


def _tensornet_layers(state: StateDict, config: TensorNetConfig) -> dict[str, Weights]:
    head = "output_model.output_network.layers"
    params = {
        f"layers_{k}": interaction_weights(state, f"{_BASE}.layers.{k}")
        for k in range(config.num_layers)
    }
    params[f"readouts_{config.heads[0]}"] = {
        "hidden": state.linear(f"{head}.0"),
        "output": state.linear(f"{head}.2"),
    }
    return params


def _tensornet2_layers(state: StateDict, config: TensorNet2Config) -> dict[str, Weights]:
    params = {"readout": tensornet2.readout_weights(state, config.readout_layers)}
    for k in range(config.num_layers):
        name = f"{_BASE}.layers.{k}"
        params[f"layers_{k}"] = {
            **tensornet2.first_filter_weights(state, name, config.num_radial),
            **filters_by_part(state, f"{name}.linears_scalar.2", "filters"),
            **mixings(state, name),
        }
    stages = ["charge_predict_0", *(f"charge_predicts.{k}" for k in range(config.num_layers))]
    for k, name in enumerate(stages):
        params[f"charges_{k}"] = tensornet2.charges_weights(state, f"{_BASE}.{name}")
    return params
