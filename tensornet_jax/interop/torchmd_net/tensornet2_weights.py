"""TensorNet2 of torchmd-net: its configuration, and the weights of its own layers."""

from collections.abc import Mapping

import numpy as np
from ase.data import covalent_radii

from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.interop.torch.state_dict import StateDict, Weights
from tensornet_jax.units import COULOMB

WEIGHTED_COULOMB = "ScalarPlusWeightedCoulomb"
SET_WEIGHTS = "output_model.qweights"
DIELECTRIC = 78.3
# torchmd-net's constants for the repulsion: eV·Å, and the screening length. Its tables of powers
# and radii are float32 in a checkpoint, ours are exact: energies differ by 2e-8 of themselves.
REPULSION = {"scale": 14.399645 / COULOMB, "prefactor": 0.4543, "exponent": 0.3}
_REPULSION = "representation_model.repulsion."
NOT_WEIGHTS = (
    SET_WEIGHTS,
    "output_model.distance.box",
    *(_REPULSION + name for name in ("z_pow", "z_outer", "cutoff_ab")),
)
"""Tensors that are no weights of the network."""


def charge_settings(
    state: Mapping[str, np.ndarray], config: Settings, scale: float
) -> dict[str, object]:
    """Return what a configuration of TensorNet2 has beyond one of TensorNet.

    Args:
        state: torch names → arrays.
        config: torchmd-net's model arguments.
        scale: eV per unit of network output, by which torchmd-net multiplies this energy too.

    Raises:
        ValueError: sets of charges of one stage have different weights, or their number is not
            given.
    """
    if "q_dim" not in config:
        raise ValueError("torchmd-net option q_dim is missing, which a tensornet2 needs")
    settings: dict[str, object] = {"num_charges": int(config["q_dim"]), "coulomb": None}
    weights = config.get("q_weights")
    if config.get("output_model") == WEIGHTED_COULOMB:
        cutoff = config.get("coulomb_cutoff")
        # Not a section of ours is left to its defaults: they are for models to be trained.
        settings["coulomb"] = {
            "damping_radius": 4.6,
            "cutoff": None if cutoff is None else float(cutoff),
            "dielectric": DIELECTRIC,
            "scale": scale,
        }
        settings["readout_layers"] = 1 + int(config.get("output_mlp_num_layers") or 0)
        weights = _stage_weights(state, config)
    if weights is not None and len(weights) == config["num_layers"] + 1:
        settings["charge_weights"] = [float(weight) for weight in weights]
    return settings


def _stage_weights(state: Mapping[str, np.ndarray], config: Settings) -> np.ndarray:
    stored = state.get(SET_WEIGHTS)
    if stored is None:
        return np.asarray(config["q_weights"])
    by_stage = np.asarray(stored, np.float64).reshape(-1, int(config["q_dim"]))
    if (by_stage != by_stage[:, :1]).any():
        raise ValueError(f"{SET_WEIGHTS}: the sets of charges of a stage have different weights")
    return by_stage[:, 0]


def repulsion_prior(state: Mapping[str, np.ndarray], scale: float) -> dict[str, object]:
    """Return the section of ``priors`` that is torchmd-net's repulsion.

    Args:
        state: torch names → arrays.
        scale: as for `charge_settings`.

    Raises:
        ValueError: a table of covalent radii is not ours.
    """
    radii = state.get(_REPULSION + "cutoff_ab")
    if radii is not None:
        ours = covalent_radii[: len(radii)]
        if not np.allclose(radii, ours[:, None] + ours, rtol=1e-6):
            raise ValueError(f"{_REPULSION}cutoff_ab differs from sums of ASE's covalent radii")
    return {"name": "zbl", **REPULSION, "scale": scale * REPULSION["scale"]}


def charges_weights(state: StateDict, name: str) -> Weights:
    """Return the parameters of the prediction of charges called ``name``."""
    mlp = {f"layers_{k}": state.linear(f"{name}.q_mlp.layers.{2 * k}") for k in range(3)}
    return {"norm": state.norm(f"{name}.q_norm"), "mlp": mlp}


def readout_weights(state: StateDict, hidden_layers: int) -> Weights:
    """Return the parameters of the read-out."""
    name = "output_model.output_network.layers"
    return {f"layers_{k}": state.linear(f"{name}.{2 * k}") for k in range(hidden_layers + 1)}


def first_filter_weights(state: StateDict, name: str, num_radial: int) -> Weights:
    """Return the first layer of the filters called ``name``, radial functions and charges apart."""
    both = state.linear(f"{name}.linears_scalar.0")
    of_radial, of_charges = np.split(both["kernel"], [num_radial])
    return {
        "of_radial": {"kernel": of_radial, "bias": both["bias"]},
        "of_charges": {"kernel": of_charges},
        "filter_hidden": state.linear(f"{name}.linears_scalar.1"),
    }
