"""Files of torchmd-net's models: Lightning checkpoints, and numpy archives of the same."""

import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tensornet_jax.interop.torch.files import Settings, read_torch_file
from tensornet_jax.interop.torchmd_net.tensornet_weights import parts_first

Layout = Literal["auto", "(3,F)", "(F,3)"]

MODEL_ARGUMENTS = (
    "model",
    "embedding_dimension",
    "num_layers",
    "num_rbf",
    "rbf_type",
    "trainable_rbf",
    "activation",
    "cutoff_lower",
    "cutoff_upper",
    "max_z",
    "equivariance_invariance_group",
    "output_model",
    "output_mlp_num_layers",
    "reduce_op",
    "prior_model",
    "prior_args",
    "remove_ref_energy",
    "q_dim",
    "q_weights",
    "coulomb_cutoff",
    "repulsion",
    "precision",
    "elements",
)
"""What of a checkpoint's settings describes the model; the rest is about its training."""

_DEVELOPMENT_NAMES = {"tensornetv2_alt": "tensornet2", "tensornet-nqe": "tensornet2"}
_OLD_READOUT = re.compile(r"(output_model\.output_network)\.(\d)\.(weight|bias)")
_GATES = "representation_model.tensor_embedding.linears_scalar.1"
_FILTERS = re.compile(r"representation_model\.layers\.\d+\.linears_scalar\.2")


@dataclass(frozen=True)
class Checkpoint:
    """A model of torchmd-net in the names and the layout of its version 3.

    state: torch names → arrays.
    config: torchmd-net's model arguments, and whatever else its training was started with.
    layout: how the file lays out three filters a channel, "(3,F)" or "(F,3)".
    """

    state: dict[str, np.ndarray]
    config: Settings
    layout: str


def read_checkpoint(path: str | os.PathLike[str], layout: Layout = "auto") -> Checkpoint:
    """Read a model of torchmd-net.

    torchmd-net's version 3 turned the outputs of the last linear layer of three filters a channel
    from (F, 3) to (3, F). Nothing in the weights tells the two apart. As torchmd-net's own loader
    does, "auto" takes a file for old if its settings have ``check_errors``, which was removed when
    the layout changed; so is one whose read-out has the names used before version 2.2.

    Args:
        path: a Lightning checkpoint (.ckpt), or an .npz with arrays ``param/<torch name>`` and
            ``config_json``, the model arguments as UTF-8 bytes of JSON.
        layout: how the file lays out the filters; "auto" to tell from its settings.

    Raises:
        ImportError: a checkpoint, and torch is not installed.
        ValueError: the file is of another kind, damaged or refused.
    """
    path = Path(path)
    state, config = _read_npz(path) if path.suffix == ".npz" else _read_ckpt(path)
    model = str(config.get("model"))
    model = _DEVELOPMENT_NAMES.get(model, model)
    config = {**config, "model": model}
    state = {name.removeprefix("model."): value for name, value in state.items()}
    old_names = any(_OLD_READOUT.fullmatch(name) for name in state)
    state = {_OLD_READOUT.sub(r"\1.layers.\2.\3", name): value for name, value in state.items()}
    if layout == "auto":
        layout = "(F,3)" if "check_errors" in config or old_names else "(3,F)"
    if layout == "(F,3)":
        state = {
            name: parts_first(value, name) if _is_three(name, model) else value
            for name, value in state.items()
        }
    return Checkpoint(state, config, layout)


def _read_ckpt(path: Path) -> tuple[Settings, Settings]:
    content = read_torch_file(path)
    found: list[Settings] = []
    for part in ("state_dict", "hyper_parameters"):
        value = content.get(part) if isinstance(content, Mapping) else None
        if not isinstance(value, Mapping):
            raise ValueError(
                f"{path} has no {part}, so it is not a checkpoint of torchmd-net: give its .ckpt "
                "file, which has state_dict and hyper_parameters"
            )
        found.append(value)
    return found[0], found[1]


def _read_npz(path: Path) -> tuple[Settings, Settings]:
    prefix = "param/"
    try:
        with np.load(path) as archive:
            config = json.loads(archive["config_json"].tobytes().decode())
            state = {
                name.removeprefix(prefix): archive[name]
                for name in archive.files
                if name.startswith(prefix)
            }
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not an archive of param/<torch name> arrays and config_json: {error}"
        ) from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: config_json must hold a JSON object, not {config!r}")
    return state, config


def _is_three(name: str, model: str) -> bool:
    """Tell whether a tensor has three outputs a channel whose order has changed."""
    layer = name.rpartition(".")[0]
    # The filters of TensorNet2's interaction layers have been (3, F) from the start.
    return layer == _GATES or (model == "tensornet" and bool(_FILTERS.fullmatch(layer)))
