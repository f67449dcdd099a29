"""State dicts for mace-torch of potentials whose weights are parametrized as its own."""

from collections.abc import Mapping

import numpy as np
from ase import data
from flax.traverse_util import flatten_dict

from tensornet_jax.interop.mace.arguments import BIASED_READ_OUT, BLOCKS, Block
from tensornet_jax.interop.mace.heads import ENERGIES, SCALES
from tensornet_jax.interop.mace.layouts import Arrays, Linear
from tensornet_jax.interop.mace.modules import (
    contractions,
    last_read_out,
    layouts,
    message_product,
    sums_over_species,
)
from tensornet_jax.interop.mace.repulsion import is_of_mace, zbl_tensors
from tensornet_jax.interop.mace.state import embedding_specs
from tensornet_jax.models.config import require_single
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.tensor_products.mace_couplings import all_couplings, as_couplings
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.variables import Collection
from tensornet_jax.runtime.sealed_file import Json

_REMEDY = "only models with parametrization: mace and the head energy alone can be written"


def to_state_dict(potential: Potential) -> tuple[dict[str, np.ndarray], Json]:
    """Return the state dict and the arguments of mace-torch's ScaleShiftMACE.

    ``ScaleShiftMACE(**arguments).load_state_dict(state)`` is the same function, once classes,
    irreps and the gate are put in place of their names. Weights that came from mace-torch go back
    as they were, bit for bit.

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
    _check(potential, c)
    params = {name: np.asarray(v) for name, v in _flat(potential, "params").items()}
    buffers = {name: np.asarray(v) for name, v in _flat(potential, "buffers").items()}
    numbers = potential.elements.numbers
    params |= _for_number_of_species(c, len(numbers), params, buffers)
    if c.energy_of_state:
        scale = float(buffers["state_scale"]) * potential.energy_scale
        # The inverse of a scale times the scale is 1 but for rounding.
        if not np.isclose(scale, 1.0, rtol=1e-6 if potential.dtype == "float32" else 1e-14):
            params["energy_of_state/kernel_0"] = scale * params["energy_of_state/kernel_0"]
    state: Arrays = {}
    for layout in layouts(c, len(numbers)):
        state |= layout.write(_below({**params, **buffers}, layout.path))
        if isinstance(layout, Linear):
            state |= _of_linear(layout.name, _sizes(layout.columns))
    energies, shift = _isolated_atoms(potential)
    dtype = np.dtype(potential.dtype)
    state |= _radial(c, numbers, _below(buffers, "basis"), dtype)
    state |= _constants(c, buffers)
    state |= {
        "atomic_numbers": np.asarray(numbers, np.int64),
        "r_max": np.asarray(c.cutoff, dtype),
        "num_interactions": np.asarray(c.num_layers, np.int64),
        ENERGIES: np.asarray(energies, dtype)[None],
        SCALES[0]: np.asarray(potential.energy_scale, dtype),
        SCALES[1]: np.asarray(shift, dtype),
    }
    if c.priors:
        state |= zbl_tensors(c.priors[0], dtype)
    cast = {
        name: np.asarray(v, dtype if v.dtype.kind == "f" else v.dtype) for name, v in state.items()
    }
    return cast, _arguments(potential, c, energies, shift)


def _check(potential: Potential, config: MACEConfig) -> None:
    config.require_one_level()
    own_state = config.electronic_state and not config.joint_embedding
    if config.heads != ("energy",) or config.tensors or own_state:
        raise ValueError(f"this model predicts or sees more than mace-torch's does: {_REMEDY}")
    if len(config.priors) > 1 or not all(
        is_of_mace(prior, potential.energy_scale, config.envelope_exponent)
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


def _sizes(columns: tuple[int, ...]) -> int:
    return sum((2 * degree + 1) * count for degree, count in enumerate(columns))


def _of_linear(name: str, size: int) -> Arrays:
    return {f"{name}.bias": np.zeros(0), f"{name}.output_mask": np.ones(size)}


def _constants(c: MACEConfig, buffers: Mapping[str, np.ndarray]) -> Arrays:
    """What mace-torch stores beside its weights."""
    found: Arrays = _of_linear("node_embedding.linear", c.num_channels)
    for layer in range(c.num_layers):
        name, product = f"interactions.{layer}", message_product(c, layer)
        size = c.sent_in_layer(layer)[0] * _sizes(product.num_copies)
        found |= {
            f"{name}.conv_tp.weight": np.zeros(0),
            f"{name}.conv_tp.output_mask": np.ones(size),
        }
        for path in product.product.paths:
            if min(path) > 0:
                key = f"{name}.conv_tp._compiled_main_left_right._w3j_{path.l1}_{path.l2}_{path.l3}"
                found[key] = clebsch_gordan(*path)
        found[f"{name}.skip_tp.output_mask"] = _mask_of_skip(c, layer)
        found |= _of_gate(c, name, product.l_in_max) if c.interaction == "gated" else {}
        found |= _couplings(c, layer, buffers)
        if layer < c.num_layers - 1 and c.readouts == "all":
            found |= _of_linear(f"readouts.{layer}.linear", 1)
    name = last_read_out(c)
    if c.readout_width is None:
        found |= _of_linear(f"{name}.linear", 1)
    else:
        found |= _of_linear(f"{name}.linear_1", c.readout_width)
        if c.readout_biases:
            found[f"{name}.linear_mid.output_mask"] = np.ones(c.readout_width)
            found[f"{name}.linear_2.output_mask"] = np.ones(1)
        else:
            found |= _of_linear(f"{name}.linear_2", 1)
    return found | (_of_linear("embedding_readout.linear", 1) if c.energy_of_state else {})


def _mask_of_skip(c: MACEConfig, layer: int) -> np.ndarray:
    if c.interaction == "linear" and c.kind_of_layer(layer) == "mixed":
        return np.ones(c.num_channels * (c.l_max + 1) ** 2)
    l_out_max = contractions(c, layer).contraction.l_out_max
    l_in_max = c.hidden_l_max if layer else 0
    mask = np.zeros(c.num_channels * (l_out_max + 1) ** 2)
    mask[: c.num_channels * (min(l_in_max, l_out_max) + 1) ** 2] = 1
    return mask


def _of_gate(c: MACEConfig, name: str, l_in_max: int) -> Arrays:
    """Constants of a gated interaction; masks are 0 for degrees that nothing leads to."""
    every = [c.num_channels * (c.l_max + 1), *(c.num_channels,) * c.l_max]
    of_degrees = [np.full((2 * d + 1) * n, d <= l_in_max) for d, n in enumerate(every)]
    return {
        f"{name}.skip_tp.bias": np.zeros(0),
        **_of_linear(f"{name}.source_embedding", c.num_channels),
        **_of_linear(f"{name}.target_embedding", c.num_channels),
        f"{name}.linear_res.output_mask": np.concatenate(of_degrees).astype(float),
    }


def _couplings(c: MACEConfig, layer: int, buffers: Mapping[str, np.ndarray]) -> Arrays:
    layout = contractions(c, layer)
    found: Arrays = {}
    for index, block in enumerate(layout.blocks):
        tensor = (
            all_couplings(c.l_max, block.degree, block.order)
            if c.couplings == "all"
            else as_couplings(block, buffers[f"{layout.path}/basis_{index}"])
        )
        module = layout.of_degree(block.degree)
        found[f"{module}.U_matrix_{block.order}"] = tensor if block.degree else tensor[0]
        number = "max" if block.order == c.correlation else block.order - 1
        found[f"{module}.weights_{number}_zeroed"] = np.asarray(False)
    return found


def _radial(
    c: MACEConfig, numbers: tuple[int, ...], buffers: Mapping[str, np.ndarray], dtype: np.dtype
) -> Arrays:
    name = "radial_embedding"
    cutoff = np.asarray(c.cutoff, dtype)
    found: Arrays = {
        f"{name}.cutoff_fn.p": np.asarray(c.envelope_exponent, np.int32),
        f"{name}.cutoff_fn.r_max": cutoff,
    }
    if c.radial == "bessel":
        found[f"{name}.bessel_fn.bessel_weights"] = buffers["frequencies"]
        found[f"{name}.bessel_fn.prefactor"] = buffers["prefactor"]
        found[f"{name}.bessel_fn.r_max"] = cutoff
    elif c.radial == "gaussian":
        found[f"{name}.bessel_fn.gaussian_weights"] = buffers["centers"]
    else:
        found[f"{name}.bessel_fn.n"] = np.arange(1, c.num_radial + 1, dtype=dtype)[None]
    transform = f"{name}.distance_transform"
    if c.distance_transform is not None:
        radii = data.covalent_radii.astype(dtype)
        radii[list(numbers)] = buffers["radii"]
        found[f"{transform}.covalent_radii"] = radii
    if c.distance_transform == "agnesi":
        found |= {f"{transform}.{key}": v for key, v in zip("qpa", buffers["agnesi"], strict=True)}
    elif c.distance_transform == "soft":
        found[f"{transform}.alpha"] = buffers["steepness"]
    return found


def _arguments(potential: Potential, c: MACEConfig, energies: np.ndarray, shift: float) -> Json:
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
        "atomic_energies": [energies.tolist()],
        "avg_num_neighbors": c.avg_num_neighbors or 1.0,
        "atomic_numbers": list(potential.elements.numbers),
        "correlation": c.correlation,
        "gate": "silu",
        "atomic_inter_scale": potential.energy_scale,
        "atomic_inter_shift": shift,
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
