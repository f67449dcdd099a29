"""State dicts for mace-torch of potentials whose weights are parametrized as its own."""

from collections.abc import Mapping

import numpy as np
from ase import data
from flax.traverse_util import flatten_dict

from tensornet_jax.interop.mace.arguments import BIASED_READ_OUT, BLOCKS, Block
from tensornet_jax.interop.mace.constants import constants, of_linear, radial_constants
from tensornet_jax.interop.mace.heads import (
    ENERGIES,
    ORIGINALS,
    SCALES,
    WITH_AXIS,
    with_all_heads,
)
from tensornet_jax.interop.mace.layouts import Arrays, Linear
from tensornet_jax.interop.mace.modules import layouts, sums_over_species
from tensornet_jax.interop.mace.repulsion import is_of_mace, zbl_tensors
from tensornet_jax.interop.mace.state import embedding_specs
from tensornet_jax.models.config import require_single
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.potential.heads import with_head
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.variables import Collection
from tensornet_jax.runtime.sealed_file import Json

_ARGUMENTS = {
    ENERGIES: "atomic_energies",
    SCALES[0]: "atomic_inter_scale",
    SCALES[1]: "atomic_inter_shift",
}
_REMEDY = "only models with parametrization: mace and the head energy alone can be written"


def to_state_dict(potential: Potential) -> tuple[dict[str, np.ndarray], Json]:
    """Return the state dict and the arguments of mace-torch's ScaleShiftMACE.

    ``ScaleShiftMACE(**arguments).load_state_dict(state)`` is the same function, once classes,
    irreps and the gate are put in place of their names. Weights that came from mace-torch go back
    as they were, bit for bit, those of several heads too.

    Args:
        potential: converted from mace-torch, or trained here with ``parametrization: mace``.

    Raises:
        ValueError: mace-torch has no such model; the message says what it lacks.
    """
    c = potential.config
    if c.compression is not None:
        raise ValueError("this model is compressed: write the one it was made of")
    require_single(c, "be written for mace-torch")
    if not isinstance(c, MACEConfig) or c.parametrization != "mace":
        raise ValueError(f"mace-torch has no {c.name} with these weights: {_REMEDY}")
    if c.num_levels > 1:
        each = {name: to_state_dict(one) for name, one in _heads(potential).items()}
        return with_all_heads(each, potential.metadata.get(ORIGINALS, {}))
    energy_scale = _scale(potential)
    _check(potential, c, energy_scale)
    buffers = {name: np.asarray(v) for name, v in _flat(potential, "buffers").items()}
    numbers, dtype = potential.elements.numbers, np.dtype(potential.dtype)
    state = _weights(potential, c, buffers, energy_scale)
    energies, shift = _isolated_atoms(potential)
    state |= radial_constants(c, numbers, _below(buffers, "basis"), dtype)
    state |= constants(c, buffers)
    state |= {
        "atomic_numbers": np.asarray(numbers, np.int64),
        "r_max": np.asarray(c.cutoff, dtype),
        "num_interactions": np.asarray(c.num_layers, np.int64),
        ENERGIES: np.asarray(energies, dtype),
        SCALES[0]: np.asarray(energy_scale, dtype),
        SCALES[1]: np.asarray(shift, dtype),
    }
    arguments = _arguments(potential, c) | {
        "atomic_energies": energies.tolist(),
        "atomic_inter_scale": energy_scale,
        "atomic_inter_shift": shift,
    }
    for name in potential.metadata.get(WITH_AXIS, [ENERGIES]):
        state[name] = state[name][None]
        arguments[_ARGUMENTS[name]] = [arguments[_ARGUMENTS[name]]]
    if c.priors:
        state |= zbl_tensors(c.priors[0], dtype)
    cast = {
        name: np.asarray(v, dtype if v.dtype.kind == "f" else v.dtype) for name, v in state.items()
    }
    return cast, arguments


def _weights(
    potential: Potential, c: MACEConfig, buffers: Mapping[str, np.ndarray], energy_scale: float
) -> Arrays:
    """All that is trained, and the constants of e3nn's linear layers."""
    params = {name: np.asarray(v) for name, v in _flat(potential, "params").items()}
    number = len(potential.elements.numbers)
    params |= _for_number_of_species(c, number, params, buffers)
    if c.energy_of_state:
        scale = float(buffers["state_scale"]) * energy_scale
        # The inverse of a scale times the scale is 1 but for rounding.
        if not np.isclose(scale, 1.0, rtol=_rounding(potential)):
            params["energy_of_state/kernel_0"] = scale * params["energy_of_state/kernel_0"]
    state: Arrays = {}
    for layout in layouts(c, number):
        state |= layout.write(_below({**params, **buffers}, layout.path))
        if isinstance(layout, Linear):
            state |= of_linear(layout)
    return state


def _heads(potential: Potential) -> dict[str, Potential]:
    """Each head of a potential with several."""
    numbers, found = potential.elements.numbers, {}
    for name in potential.config.levels:
        found[name] = with_head(potential, name)
        unknown = set(numbers) - set(found[name].elements.numbers)
        if unknown:
            symbols = ", ".join(data.chemical_symbols[number] for number in sorted(unknown))
            raise ValueError(
                f"head {name} has no reference energy of {symbols}, and every head of mace-torch "
                f"knows all elements: write heads one by one (--head {name}, or with_head)"
            )
    return found


def _rounding(potential: Potential) -> float:
    """What numbers that went through its precision may differ by, relative to them."""
    return 1e-6 if potential.dtype == "float32" else 1e-14


def _scale(potential: Potential) -> float:
    """The energy scale; that of the model it was converted from where only rounding differs."""
    scale = potential.energy_scale
    there = potential.metadata.get("scale", scale)
    return there if np.isclose(there, scale, rtol=_rounding(potential), atol=0) else scale


def _check(potential: Potential, config: MACEConfig, scale: float) -> None:
    own_state = config.electronic_state and not config.joint_embedding
    if config.heads != ("energy",) or config.tensors or own_state:
        raise ValueError(f"this model predicts or sees more than mace-torch's does: {_REMEDY}")
    if len(config.priors) > 1 or not all(
        is_of_mace(prior, scale, config.envelope_exponent, max(1e-12, _rounding(potential)))
        for prior in config.priors
    ):
        raise ValueError("mace-torch has none of this model's priors but a ZBL of its own")
    if (config.readout_width is None) != (config.num_layers == 1):
        raise ValueError(
            "mace-torch's last read-out is linear (readout_width: null) in models of one layer, "
            f"and in no others: this one has {config.num_layers} layers and the width "
            f"{config.readout_width}"
        )
    if potential.energy_offset:
        raise ValueError("mace-torch has no energy offset of whole structures, as this model has")


def _for_number_of_species(
    c: MACEConfig,
    number: int,
    params: Mapping[str, np.ndarray],
    buffers: Mapping[str, np.ndarray],
) -> Arrays:
    """Parameters that mean the same in mace-torch, where elements were added or dropped."""
    found: Arrays = {}
    for path, beginnings in sums_over_species(c):
        prefix = f"{path}/" if path else ""
        scale = buffers[f"{prefix}species_scale"]
        if scale == np.asarray(number**-0.5, scale.dtype):
            continue
        factor = float(scale) * number**0.5
        for name, value in params.items():
            if name.startswith(tuple(prefix + beginning for beginning in beginnings)):
                found[name] = value * factor
    return found


def _flat(potential: Potential, collection: str) -> Collection:
    return flatten_dict(potential.variables.get(collection, {}), sep="/")


def _below(arrays: Mapping[str, np.ndarray], path: str) -> dict[str, np.ndarray]:
    prefix = f"{path}/" if path else ""
    return {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}


def _isolated_atoms(potential: Potential) -> tuple[np.ndarray, float]:
    """E0 and shift of mace-torch, whose sum is E0 here."""
    found = potential.metadata
    total = potential.elements.reference_energies
    shift = float(found.get("shift", 0.0))
    energies = np.asarray(found.get("isolated_atoms", total), np.float64)
    if energies.shape == total.shape and np.array_equal(energies + shift, total):
        return energies, shift
    return total - shift, shift


def _arguments(potential: Potential, c: MACEConfig) -> Json:
    """All arguments but energies."""
    classes = {block: name for name, block in BLOCKS.items()}
    kinds = c.kind_of_layer(0), c.kind_of_layer(min(1, c.num_layers - 1))
    normalization = c.neighbor_normalization
    if c.interaction == "gated":
        kinds, normalization = ("residual", "residual"), "density"
    first, later = (classes[Block(kind, normalization, c.interaction)] for kind in kinds)
    transform = c.distance_transform
    heads = c.levels or potential.metadata.get("config", {}).get("heads") or ["Default"]
    arguments = {
        "r_max": c.cutoff,
        "num_bessel": c.num_radial,
        "num_polynomial_cutoff": c.envelope_exponent,
        "max_ell": c.l_max,
        "interaction_cls": later,
        "interaction_cls_first": first,
        "num_interactions": c.num_layers,
        "num_elements": len(potential.elements.numbers),
        "hidden_irreps": _irreps(c.num_channels, c.hidden_l_max),
        "MLP_irreps": f"{c.readout_width or 16}x0e",
        "avg_num_neighbors": c.avg_num_neighbors or 1.0,
        "atomic_numbers": list(potential.elements.numbers),
        "correlation": c.correlation,
        "gate": "silu",
        "radial_MLP": list(c.radial_widths),
        "radial_type": c.radial,
        "heads": list(heads),
        "pair_repulsion": bool(c.priors),
        "distance_transform": "None" if transform is None else transform.capitalize(),
        "use_agnostic_product": not c.species_in_many_body,
        "use_reduced_cg": c.couplings == "reduced",
        "apply_cutoff": c.cutoff_function == "basis",
        "use_last_readout_only": c.readouts == "last",
    }
    if c.edge_channels is not None or c.edge_l_max is not None:
        count, l_max = c.sent_in_layer(1)
        arguments["edge_irreps"] = _irreps(count, l_max)
        arguments["use_edge_irreps_first"] = c.edge_channels_in == "all"
    if c.last_layer == "all":
        arguments["keep_last_layer_irreps"] = True
    if c.readout_biases:
        arguments["readout_cls"] = BIASED_READ_OUT
    if c.joint_embedding:
        arguments["embedding_specs"] = embedding_specs(c)
        arguments["use_embedding_readout"] = c.energy_of_state
    return arguments


def _irreps(channels: int, l_max: int) -> str:
    return "+".join(f"{channels}x{d}{'eo'[d % 2]}" for d in range(l_max + 1))
