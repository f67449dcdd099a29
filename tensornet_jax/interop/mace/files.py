"""Files for mace-torch: its own where it is installed, arrays and arguments where it is not."""

import json
import os
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tensornet_jax.interop.mace.export import to_state_dict
from tensornet_jax.interop.torch.files import Settings, write_module
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.whole_files import replacing

ENDINGS = (".npz", ".model")
_IRREPS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
_CLASSES = ("interaction_cls", "interaction_cls_first", "readout_cls")


def write_for_mace(path: str | os.PathLike[str], potential: Potential) -> None:
    """Write a potential for mace-torch.

    A file that ends in .model is what mace-torch itself saves, a whole module, and is written by
    it. One that ends in .npz needs no torch: its arrays are ``param/<name in the state dict>``, and
    ``config_json`` has the arguments of ScaleShiftMACE, classes and irreps by their names.

    Args:
        path: where to write.
        potential: see `to_state_dict`.

    Raises:
        ImportError: the ending is .model, and mace-torch, or of cuequivariance what the model
            needs of it, is not installed.
        ValueError: another ending, or mace-torch has no such model; the message says which.
    """
    path = Path(path)
    check_ending(path)
    state, arguments = to_state_dict(potential)
    with replacing(path) as unfinished:
        if path.suffix == ".model":
            make = partial(_module, _mace_torch(), state, arguments)
            write_module(unfinished, make, str(state["r_max"].dtype))
            return
        arrays: dict[str, Any] = {f"param/{name}": value for name, value in state.items()}
        with unfinished.open("wb") as file:
            np.savez(file, config_json=np.asarray(json.dumps(arguments)), **arrays)


def check_ending(path: Path) -> None:
    """Raise ValueError unless a path's ending says what is to be written for mace-torch."""
    if path.suffix not in ENDINGS:
        raise ValueError(
            f"{path}: for mace-torch the name ends in .model, a file as it saves them, which needs "
            "mace-torch installed here, or in .npz, arrays and arguments, which needs nothing"
        )


def _mace_torch() -> ModuleType:
    try:
        # By name, since no type checker finds what need not be installed.
        return import_module("mace.modules")
    except ImportError as error:
        raise ImportError(
            "a .model file is written by mace-torch, which is not installed here: give the output "
            "the ending .npz, which mace-torch reads elsewhere as docs/interoperability.md shows"
        ) from error


def _module(
    modules: ModuleType,
    state: Mapping[str, np.ndarray],
    arguments: Settings,
    torch: ModuleType,
) -> object:
    """Return mace-torch's ScaleShiftMACE.

    Raises:
        ImportError: its couplings are made by cuequivariance, which is not installed.
    """
    if arguments["use_reduced_cg"] and not import_module("mace.tools.cg").CUET_AVAILABLE:
        raise ImportError(
            "this model has the reduced couplings (use_reduced_cg) that mace-torch makes with "
            "cuequivariance: pip install cuequivariance cuequivariance-torch, or give the output "
            "the ending .npz"
        )
    irreps = import_module("e3nn.o3").Irreps
    made = dict(arguments)
    made |= {key: irreps(made[key]) for key in _IRREPS if key in made}
    made |= {key: getattr(modules.blocks, made[key]) for key in _CLASSES if key in made}
    made |= {
        "gate": torch.nn.functional.silu,
        "atomic_energies": np.array(made["atomic_energies"]),
    }
    model = modules.ScaleShiftMACE(**made)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return model
