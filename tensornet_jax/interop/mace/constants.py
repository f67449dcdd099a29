"""What mace-torch stores beside its weights: masks, couplings, radii and the like."""

from collections.abc import Mapping

import numpy as np
from ase import data

from tensornet_jax.interop.mace.layouts import Arrays, Linear
from tensornet_jax.interop.mace.modules import contractions, last_read_out, message_product
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.tensor_products.mace_couplings import all_couplings, as_couplings


def _sizes(columns: tuple[int, ...]) -> int:
    return sum((2 * degree + 1) * count for degree, count in enumerate(columns))


def of_linear(layout: Linear) -> Arrays:
    """Return the constants of e3nn's Linear with the weights of a layout."""
    return _of_linear(layout.name, _sizes(layout.columns))


def _of_linear(name: str, size: int) -> Arrays:
    return {f"{name}.bias": np.zeros(0), f"{name}.output_mask": np.ones(size)}


def constants(c: MACEConfig, buffers: Mapping[str, np.ndarray]) -> Arrays:
    """Return the constants of all layers and read-outs.

    Args:
        c: of the model.
        buffers: of the model, by their paths.
    """
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


def radial_constants(
    c: MACEConfig, numbers: tuple[int, ...], buffers: Mapping[str, np.ndarray], dtype: np.dtype
) -> Arrays:
    """Return those of the radial functions.

    Args:
        c: of the model.
        numbers: its element table.
        buffers: of its radial functions, by their names.
        dtype: of the tensors.
    """
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
