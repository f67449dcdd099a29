"""Read MatGL's TensorNet potentials (arXiv:2503.03837), such as the universal MatPES ones.

MatGL has computed three different functions from such weights. Over its directed edges src → dst,
with vectors r_dst − r_src, each sums an embedding of the edge and then messages:

| MatGL | ``@model_version`` | embedding at | message |
|---|---|---|---|
| < 2.2 on PyG | 1 | dst | tensor of dst, to src |
| < 2.2 on DGL | 1 | dst | tensor of dst, to dst |
| ≥ 2.2 | 2 | src | tensor of dst, to src |

Every edge has its reverse. So, with i the atom at which a sum arrives and j its neighbor, the
embedding of version 1 has vectors r_i − r_j and the elements as [z_j; z_i], that of version 2
r_j − r_i and [z_i; z_j]; and messages bring the neighbor's tensor, but on DGL in version 1 the
atom's own. The order of the elements is that of halves of a weight matrix; the sign of the vectors,
which energies of O(3) models don't depend on, is `so3_convention`. That leaves `messages`.

Evaluated in the wrong way weights give nonsense: MgO −2.3 instead of −5.9 eV/atom. DGL models have
a layer that the energy does not use, ``emb3``, which tells them from those for PyG.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from tensornet_jax.interop.torch.files import Settings, read_torch_file
from tensornet_jax.interop.torch.state_dict import StateDict, Weights
from tensornet_jax.interop.torchmd_net.tensornet_weights import (
    embedding_weights,
    interaction_weights,
    parts_first,
)
from tensornet_jax.models.heads.read_outs import GatedReadout
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.ops.radial import orthonormalization_of_smooth_bessel
from tensornet_jax.potential.potential import ElementTable, Potential

_ACTIVATION = {"swish": "silu", "tanh": "tanh", "sigmoid": "sigmoid", "softplus2": "ssp"}
_DTYPE = {"torch.float32": "float32", "torch.float64": "float64"}
_SUPPORTED: dict[str, tuple[object, ...]] = {
    "rbf_type": ("SphericalBessel", "Gaussian"),
    "activation_type": tuple(_ACTIVATION),
    "equivariance_invariance_group": ("O(3)", "SO(3)"),
    "dtype": tuple(_DTYPE),
    # What MatGL itself assumes where nothing is said, an intensive property, is not an energy.
    "is_intensive": (False,),
    "task_type": ("regression",),
    "ntargets": (1,),
    "include_state": (False,),
    "ntypes_state": (None,),
    "dim_state_embedding": (0,),
    "dim_state_feats": (None,),
    "calc_repuls": (False,),
    "calc_magmom": (False,),
    "calc_charge": (False,),
}
"""MatGL's options with the values this package has."""
_NEEDED = ("element_types", "units", "nblocks", "max_n", "num_rbf", "rbf_type", "cutoff")
_READ = {
    *(*_NEEDED, "use_smooth", "width"),
    # These say nothing the state dict doesn't, or nothing that such energies depend on.
    *("model", "data_mean", "data_std", "element_refs", "calc_forces", "calc_stresses"),
    *("calc_hessian", "zbl_trainable", "debug_mode", "compile_model", "compile_mode", "max_l"),
    *("readout_type", "niters_set2set", "nlayers_set2set", "field", "use_warp"),
}
_NOT_WEIGHTS = (
    "data_mean",
    "data_std",
    "element_refs.property_offset",
    "element_refs.onehot",
    "model.bond_expansion.rbf.cutoff",
    "model.tensor_embedding.emb3.weight",
    "model.tensor_embedding.emb3.bias",
)


def from_directory(
    path: str | os.PathLike[str], *, version: int | None = None, dtype: str | None = None
) -> Potential:
    """Build the potential in a folder that MatGL's ``Potential.save`` wrote.

    Args:
        path: the folder, with model.json and state.pt; model.pt is not needed.
        version: as in `from_state_dict`; by default what model.json says.
        dtype: "float32" or "float64"; by default the model's own.

    Raises:
        ImportError: torch is not installed.
        ValueError: as in `from_state_dict`, or a file is damaged.
        FileNotFoundError: one of the two files is not there.
    """
    folder = Path(path)
    try:
        config = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / 'model.json'} is not JSON: {error}") from error
    state = read_torch_file(folder / "state.pt")
    if not isinstance(state, Mapping):
        raise ValueError(f"{folder / 'state.pt'} holds no state dict")
    return from_state_dict(state, config, version=version, dtype=dtype)


def from_state_dict(
    state: Mapping[str, np.ndarray],
    config: Settings,
    *,
    version: int | None = None,
    dtype: str | None = None,
) -> Potential:
    """Build the potential of a MatGL state dict.

    Args:
        state: names → arrays of MatGL's ``Potential``.
        config: what its model.json holds, or {"init_args": arguments of MatGL's ``TensorNet``,
            "matgl": version of the package that wrote the weights}.
        version: the ``@model_version`` of MatGL's ``TensorNet``, 1 or 2 (MatGL ≥ 2.2), which says
            what is computed from the weights; by default what ``config`` says.
        dtype: "float32" or "float64"; by default the model's own.

    Returns:
        a potential for the elements of ``element_types``; ``metadata["message_convention"]`` says
        which of the three functions of the weights it is. Like MatGL it ignores a total charge.

    Raises:
        ValueError: the model has something this package does not, its version is not known, or it
            lacks, has too much of or misshapes a tensor; the message names it.
    """
    state = {name: np.asarray(value) for name, value in state.items()}
    arguments = _arguments(config)
    version = _version(config) if version is None else version
    if version not in (1, 2):
        raise ValueError(f"MatGL's TensorNet of version {version} is not supported, only 1 and 2")
    on_dgl = "model.tensor_embedding.emb3.weight" in state
    model = _model_config(arguments, version, on_dgl)
    potential = Potential(
        model,
        {},
        _elements(arguments["element_types"], state.get("element_refs.property_offset")),
        dtype=dtype or _DTYPE[arguments.get("dtype", "torch.float32")],
        energy_scale=state["data_std"].item() if "data_std" in state else 1.0,
        energy_offset=state["data_mean"].item() if "data_mean" in state else 0.0,
    )
    tensors = _parts_first(state)
    if version == 1:
        tensors = _as_version_2(tensors, model)
    weights = StateDict(tensors, _NOT_WEIGHTS)
    variables = weights.into(potential, _variables(weights, model, arguments))
    convention = "MatGL ≥ 2.2" if version == 2 else f"MatGL < 2.2, {'DGL' if on_dgl else 'PyG'}"
    metadata = {"source": "matgl", "message_convention": convention, "config": dict(config)}
    return potential.replace(variables=variables, metadata=metadata)


def _arguments(config: Settings) -> Settings:
    """Return the arguments of MatGL's TensorNet, all of which are supported."""
    name = config.get("@class", "Potential")
    if name != "Potential":
        raise ValueError(f"MatGL's {name} is not supported, only a Potential is")
    potential = config.get("kwargs", {})
    model = potential.get("model", config)
    name = model.get("@class", "TensorNet")
    if name != "TensorNet":
        raise ValueError(f"MatGL's model {name} is not supported, only TensorNet is")
    arguments = model.get("init_args", {})
    missing = [key for key in _NEEDED if key not in arguments]
    if missing:
        raise ValueError(
            f"the arguments of MatGL's TensorNet, init_args, lack {', '.join(missing)}: give what "
            "its model.json holds"
        )
    for key, value in {"is_intensive": True, **potential, **arguments}.items():
        if key in _SUPPORTED and value not in _SUPPORTED[key]:
            known = " or ".join(repr(choice) for choice in _SUPPORTED[key])
            raise ValueError(f"MatGL's option {key}: {value!r} is not supported, only {known}")
        if key not in _SUPPORTED and key not in _READ:
            raise ValueError(f"MatGL's option {key}: {value!r} is not known to this package")
    return arguments


def _version(config: Settings) -> int:
    model = config.get("kwargs", {}).get("model", {})
    if "@model_version" in model:
        return int(model["@model_version"])
    if "matgl" in config:
        major, minor = (int(part) for part in str(config["matgl"]).split(".")[:2])
        return 2 if (major, minor) >= (2, 2) else 1
    raise ValueError(
        "nothing says which version of MatGL's TensorNet wrote these weights, on which it depends "
        "what is computed from them: give version=1 for MatGL before 2.2, version=2 for later ones"
    )


def _model_config(arguments: Settings, version: int, on_dgl: bool) -> TensorNetConfig:
    bessel = arguments["rbf_type"] == "SphericalBessel"
    if bessel and not arguments.get("use_smooth"):
        raise ValueError("MatGL's option use_smooth: False is not supported, only True")
    return TensorNetConfig.model_validate(
        {
            "num_channels": arguments["units"],
            "num_layers": arguments["nblocks"],
            "num_radial": arguments["max_n" if bessel else "num_rbf"],
            "radial": "smooth_bessel" if bessel else "gaussian",
            "activation": _ACTIVATION[arguments.get("activation_type", "swish")],
            "cutoff": arguments["cutoff"],
            "group": arguments.get("equivariance_invariance_group", "O(3)"),
            "so3_convention": "python" if version == 1 else "warp",
            "messages": "own" if version == 1 and on_dgl else "neighbours",
            "self_edges": False,
            "total_charge": False,
            "readout": "gated",
        }
    )


def _elements(symbols: Sequence[str], references: np.ndarray | None) -> ElementTable:
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"element_types names {unknown}, which are no chemical elements")
    energies = np.zeros(len(symbols)) if references is None else references
    if energies.shape != (len(symbols),):
        raise ValueError(
            f"element_refs.property_offset has shape {energies.shape} for {len(symbols)} elements: "
            "references that depend on a state are not supported"
        )
    return ElementTable(tuple(atomic_numbers[symbol] for symbol in symbols), energies)


def _parts_first(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state dict with the names and the order of outputs that torchmd-net has."""
    found = {}
    for name, value in state.items():
        layer = name.rpartition(".")[0]
        if layer.endswith(("tensor_embedding.linears_scalar.1", "linears_scalar.2")):
            found[name] = parts_first(value, name)
        elif layer.endswith("tensor_embedding.distance_proj"):
            # MatGL's Warp kernels keep three layers as one.
            for k, part in enumerate(np.split(value, 3)):
                found[name.replace("distance_proj", f"distance_proj{k + 1}")] = part
        else:
            found[name] = value
    return found


def _as_version_2(
    state: Mapping[str, np.ndarray], config: TensorNetConfig
) -> dict[str, np.ndarray]:
    """Return weights whose embedding takes [z_i; z_j], and radial functions without rounding."""
    state = dict(state)
    pair = "model.tensor_embedding.emb2.weight"
    if pair in state:
        state[pair] = np.roll(state[pair], config.num_channels, axis=1)
    cutoff = state.get("model.bond_expansion.rbf.cutoff")
    if config.radial == "smooth_bessel" and cutoff is not None and cutoff.dtype == np.float32:
        rounding = _rounding(config.num_radial, config.cutoff).T
        layers = [f"tensor_embedding.distance_proj{k + 1}" for k in range(3)]
        layers += [f"layers.{k}.linears_scalar.0" for k in range(config.num_layers)]
        for name in (f"model.{layer}.weight" for layer in layers):
            if name in state:
                state[name] = (rounding @ state[name].T).T
    return state


def _variables(state: StateDict, config: TensorNetConfig, arguments: Settings) -> Weights:
    params: dict[str, Weights] = {
        "embedding": embedding_weights(state, "model.tensor_embedding"),
        "norm": state.norm("model.out_norm"),
        "linear": state.linear("model.linear"),
        "readouts_energy": {
            f"{branch}_{k}": state.linear(f"model.final_layer.gated.{branch}.{2 * k}")
            for branch in ("layers", "gates")
            for k in range(GatedReadout.DEPTH)
        },
        **{
            f"layers_{k}": interaction_weights(state, f"model.layers.{k}")
            for k in range(config.num_layers)
        },
    }
    if config.radial != "gaussian":
        return {"params": params, "buffers": {}}
    radial = {
        "offsets": state.take("model.bond_expansion.rbf.centers"),
        "coefficient": np.asarray(-arguments.get("width", 0.5)),
    }
    return {"params": params, "buffers": {"radial": radial}}


def _rounding(num_radial: int, cutoff: float) -> np.ndarray:
    """(R, R) from our smooth Bessel functions to those of MatGL before 4.

    MatGL computes their factors from a float32 cutoff in float32, whatever precision is asked for.
    Weights that undo it make the same numbers: 2e-6 eV for 32 atoms of Cu.
    """
    order = np.arange(1, num_radial + 1)
    factor = np.float32(np.sqrt(2) * np.pi) / np.float32(cutoff) ** np.float32(1.5)
    rounded = factor * order.astype(np.float32) * (order + 1).astype(np.float32)
    exact = np.sqrt(2) * np.pi / cutoff**1.5 * order * (order + 1)
    mixing = orthonormalization_of_smooth_bessel(num_radial)
    return mixing @ np.diag(rounded / exact) @ np.linalg.inv(mixing)
