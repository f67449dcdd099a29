"""The arguments of mace-torch's ScaleShiftMACE as a configuration of this package.

Names and defaults are those of mace-torch 0.3.16; earlier versions have fewer arguments.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tensornet_jax.interop.mace.state import state_settings
from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.runtime.sealed_file import Json


class Block(NamedTuple):
    """What an interaction block of mace-torch is among the options of this package."""

    layer: str
    normalization: str
    interaction: str = "linear"


BLOCKS = {
    "RealAgnosticInteractionBlock": Block("mixed", "mean"),
    "RealAgnosticResidualInteractionBlock": Block("residual", "mean"),
    "RealAgnosticDensityInteractionBlock": Block("mixed", "density"),
    "RealAgnosticDensityResidualInteractionBlock": Block("residual", "density"),
    "RealAgnosticResidualNonLinearInteractionBlock": Block("residual", "density", "gated"),
}
BIASED_READ_OUT = "NonLinearBiasReadoutBlock"
_SUPPORTED: dict[str, tuple[object, ...]] = {
    "gate": ("silu",),
    "apply_cutoff": (True, False),
    "use_so3": (False,),
    "use_last_readout_only": (False, True),
    "use_embedding_readout": (False, True),
    "use_edge_irreps_first": (False, True, None),
    "keep_last_layer_irreps": (False, True),
    "readout_cls": (None, "NonLinearReadoutBlock", BIASED_READ_OUT),
    "distance_transform": (None, "None", "Agnesi", "Soft"),
    "radial_type": ("bessel", "gaussian", "chebyshev", None),
}
"""Arguments with the values this package has."""
_NEEDED = (
    *("r_max", "num_bessel", "num_polynomial_cutoff", "max_ell", "interaction_cls"),
    *("interaction_cls_first", "num_interactions", "hidden_irreps", "MLP_irreps"),
    *("avg_num_neighbors", "correlation"),
)
_READ = {
    *_NEEDED,
    *("atomic_energies", "atomic_numbers", "num_elements", "radial_MLP", "heads"),
    *("atomic_inter_scale", "atomic_inter_shift", "pair_repulsion", "use_agnostic_product"),
    # How mace-torch computes, or how its weights are laid out, which the state dict shows.
    *("edge_irreps", "embedding_specs"),
    *("cueq_config", "oeq_config", "lammps_mliap", "use_reduced_cg"),
}
RADIAL_WIDTHS = (64, 64, 64)
"""Hidden layers of radial networks where the arguments name none."""


def model_config(arguments: Settings) -> MACEConfig:
    """Return the configuration of a model with such arguments, priors left out.

    Raises:
        ValueError: an argument is missing, or has a value that this package has no option for.
    """
    check_arguments(arguments)
    first, later = _blocks(arguments)
    channels, hidden_l_max = _natural(arguments["hidden_irreps"])
    layers = int(arguments["num_interactions"])
    transform, widths = arguments.get("distance_transform"), arguments.get("radial_MLP")
    edge_channels, edge_l_max, edge_channels_in = _edges(arguments)
    settings = {
        "parametrization": "mace",
        "cutoff": float(arguments["r_max"]),
        "num_radial": int(arguments["num_bessel"]),
        "envelope_exponent": int(arguments["num_polynomial_cutoff"]),
        "l_max": int(arguments["max_ell"]),
        "num_layers": layers,
        "num_channels": channels,
        # Between layers: of one layer only scalars are left.
        "hidden_l_max": hidden_l_max if layers > 1 else 0,
        "readout_width": _read_out_width(arguments["MLP_irreps"]) if layers > 1 else None,
        "avg_num_neighbors": float(arguments["avg_num_neighbors"]),
        "correlation": _correlation(arguments["correlation"]),
        "radial_widths": RADIAL_WIDTHS if widths is None else tuple(widths),
        "radial": arguments.get("radial_type") or "bessel",
        "distance_transform": None if transform in (None, "None") else str(transform).lower(),
        "interaction": first.interaction,
        "first_layer": first.layer,
        "later_layers": later.layer,
        "cutoff_function": "basis" if arguments.get("apply_cutoff", True) else "messages",
        "edge_channels": None if edge_channels == channels else edge_channels,
        "edge_l_max": None if edge_l_max == hidden_l_max else edge_l_max,
        "edge_channels_in": edge_channels_in,
        "last_layer": "all"
        if arguments.get("keep_last_layer_irreps") and layers > 1
        else "scalars",
        "readouts": "last" if arguments.get("use_last_readout_only") and layers > 1 else "all",
        "neighbor_normalization": first.normalization,
        "species_in_many_body": not arguments.get("use_agnostic_product", False),
        "readout_biases": layers > 1 and _short(arguments.get("readout_cls")) == BIASED_READ_OUT,
        **state_settings(arguments),
    }
    return MACEConfig.model_validate(settings)


def _edges(arguments: Settings) -> tuple[int | None, int | None, str]:
    """Channels and highest degree of what neighbors send where they differ, and in which layers."""
    given, one = arguments.get("edge_irreps"), int(arguments["num_interactions"]) == 1
    first = bool(arguments.get("use_edge_irreps_first"))
    if given is None or (one and not first):
        return None, None, "later"
    channels, l_max = _natural(given)
    return channels, None if one else l_max, "all" if first else "later"


def check_arguments(arguments: Settings) -> None:
    """Raise ValueError if an argument is missing, unknown, or not supported."""
    missing = [key for key in _NEEDED if key not in arguments]
    if missing:
        raise ValueError(f"the arguments of ScaleShiftMACE lack {', '.join(missing)}")
    for key, given in arguments.items():
        value = _short(given) if key in ("gate", "readout_cls") else given
        if key in _SUPPORTED and not any(value == choice for choice in _SUPPORTED[key]):
            known = " or ".join(repr(choice) for choice in _SUPPORTED[key])
            raise ValueError(f"mace-torch's option {key}: {value!r} is not supported, only {known}")
        if key not in _SUPPORTED and key not in _READ:
            raise ValueError(f"mace-torch's option {key}: {value!r} is not known to this package")


def head_names(arguments: Settings) -> list[str]:
    """Names of the heads; versions before 0.3.5 have one without a name."""
    return [str(name) for name in arguments.get("heads") or ["Default"]]


def _blocks(arguments: Settings) -> tuple[Block, Block]:
    found = []
    for key in ("interaction_cls_first", "interaction_cls"):
        name = str(_short(arguments[key]))
        if name not in BLOCKS:
            raise ValueError(
                f"mace-torch's {key} {name} is not supported, only {', '.join(BLOCKS)}"
            )
        found.append(BLOCKS[name])
    first, later = found
    if int(arguments["num_interactions"]) == 1:
        return first, first
    if first[1:] != later[1:]:
        raise ValueError(
            f"interaction_cls_first {arguments['interaction_cls_first']} and interaction_cls "
            f"{arguments['interaction_cls']} are not supported together: both with a density of "
            "neighbors or none, both non-linear or none"
        )
    return first, later


def _short(value: object) -> object:
    """The last part of a class's or function's name, however it is written; None for none."""
    if value is None or not isinstance(value, str):
        return value
    words = re.findall(r"\w+", value.split(" at 0x")[0])
    return words[-1] if words else value


def irreps(text: str) -> list[tuple[int, int, str]]:
    """Return (multiplicity, degree, parity) of each part of irreps such as "16x0e+16x1o"."""
    found = []
    for part in str(text).replace(" ", "").split("+"):
        match = re.fullmatch(r"(?:(\d+)x)?(\d+)([eo])", part)
        if match is None:
            raise ValueError(f"irreps {text!r} cannot be read: write them as 16x0e+16x1o")
        found.append((int(match[1] or 1), int(match[2]), match[3]))
    return found


def _natural(text: str) -> tuple[int, int]:
    """Channels and highest degree of the irreps of features."""
    parts = irreps(text)
    channels = parts[0][0]
    if parts != [(channels, degree, "eo"[degree % 2]) for degree in range(len(parts))]:
        raise ValueError(
            f"irreps {text} of features are not supported, only those with equally many channels "
            f"of degrees 0, 1, … and of natural parity, such as {channels}x0e+{channels}x1o"
        )
    return channels, len(parts) - 1


def _read_out_width(text: str) -> int:
    parts = irreps(text)
    if len(parts) != 1 or parts[0][1:] != (0, "e"):
        raise ValueError(f"MLP_irreps {text} are not supported, only scalars such as 16x0e")
    return parts[0][0]


def _correlation(value: int | Sequence[int]) -> int:
    each = {int(n) for n in value} if isinstance(value, Sequence) else {int(value)}
    if len(each) != 1:
        raise ValueError(f"correlation {value} that differs from layer to layer is not supported")
    return each.pop()


def plain_arguments(arguments: Settings) -> Json:
    """Return arguments as JSON can hold them."""

    def plain(value: object) -> object:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value if value is None or isinstance(value, str | int | float) else str(value)

    return {key: plain(value) for key, value in arguments.items()}
