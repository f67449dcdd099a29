"""Potentials of mace-torch's weights, from arrays or from its `.model` files."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from tensornet_jax.interop.mace.arguments import head_names, model_config, plain_arguments
from tensornet_jax.interop.mace.heads import (
    ENERGIES,
    ORIGINALS,
    SCALES,
    WITH_AXIS,
    originals_of,
    with_axis_of_heads,
    with_one_head,
)
from tensornet_jax.interop.mace.modules import contractions, layouts, sums_over_species
from tensornet_jax.interop.mace.repulsion import zbl_prior
from tensornet_jax.interop.mace.state import with_named_inputs
from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.interop.torch.state_dict import StateDict
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.ops.tensor_products.mace_couplings import all_couplings, change_of_basis
from tensornet_jax.potential.heads import UNNAMED, joined
from tensornet_jax.potential.potential import ElementTable, Potential

_CONSTANTS = ("output_mask", "conv_tp.weight")
"""Ends of names of what an architecture fixes."""
_NEVER_READ = ("pair_repulsion_fn.r_max", "pair_repulsion_fn.cutoff.")
"""Beginnings of names of what versions before 0.3.10 have, and do not use themselves."""


def from_model_file(
    path: str | os.PathLike[str], *, head: str | None = None, dtype: str | None = None
) -> Potential:
    """Build the potential of a file that mace-torch saved as a whole module.

    The file's program is not run, and neither torch nor mace-torch nor e3nn is needed.

    Args:
        path: the file, by custom ending in .model.
        head: as in `from_state_dict`.
        dtype: "float32" or "float64"; by default the file's own.

    Raises:
        ValueError: as in `from_state_dict`; the file is damaged, of another kind, or names what
            no file of mace-torch does.
        FileNotFoundError: there is no such file.
    """
    from tensornet_jax.interop.mace.model_files import read_model_file

    state, arguments = read_model_file(path)
    return from_state_dict(state, arguments, head=head, dtype=dtype)


def from_state_dict(
    state: Mapping[str, np.ndarray],
    config: Settings,
    *,
    head: str | None = None,
    dtype: str | None = None,
) -> Potential:
    """Build the potential of a state dict of mace-torch's ScaleShiftMACE or MACE.

    Args:
        state: names → arrays.
        config: the arguments of ScaleShiftMACE; classes, functions and irreps by their names.
        head: which of several heads, each with energies of its own, the potential is to have; None
            for all of them.
        dtype: "float32" or "float64"; by default that of the weights.

    Returns:
        a potential with the same energies, the energies of isolated atoms E0 included. What
        mace-torch shifts the energy of each atom by is part of our E0.

    Raises:
        ValueError: the model has something this package does not, lacks, has too much of or
            misshapes a tensor, or has no such head; the message names it.
    """
    state = {name: np.asarray(value) for name, value in state.items()}
    names = head_names(config)
    if head is None and len(names) > 1:
        each = {name: _with_one_head(state, config, name, dtype) for name in names}
        found = joined(each)
        return found.replace(metadata=found.metadata | {ORIGINALS: originals_of(state)})
    return _with_one_head(state, config, head, dtype)


def _with_one_head(
    state: Mapping[str, np.ndarray], config: Settings, head: str | None, dtype: str | None
) -> Potential:
    with_axis = with_axis_of_heads(state)
    state, arguments = with_one_head(with_named_inputs(state, config), config, head)
    tensors = StateDict(state, [name for name in state if _is_constant(name, state[name])])
    numbers = tuple(int(number) for number in tensors.take("atomic_numbers"))
    # mace-torch's MACE has neither.
    plain = "atomic_inter_scale" not in config and not any(name in state for name in SCALES)
    scale, shift = (1.0, 0.0) if plain else (float(tensors.take(name)) for name in SCALES)
    energies = np.asarray(tensors.take(ENERGIES), np.float64)
    model = _model_config(tensors, arguments, scale)
    (own,) = head_names(arguments)
    if own.lower() != UNNAMED:
        model = model.model_copy(update={"levels": (own,)})
    potential = Potential(
        model,
        {},
        ElementTable(numbers, energies + shift),
        dtype=dtype or _precision(state),
        energy_scale=scale,
    )
    variables = _variables(tensors, model, numbers)
    if model.energy_of_state:
        # mace-torch does not scale this energy, and a potential scales all of them.
        variables["buffers"]["state_scale"] = np.asarray(1 / scale)
    variables = tensors.into(potential, variables)
    metadata = {
        "source": "mace-torch",
        "config": plain_arguments(arguments),
        "isolated_atoms": energies.tolist(),
        "scale": scale,
        "shift": shift,
        WITH_AXIS: with_axis,
    }
    return potential.replace(variables=variables, metadata=metadata)


def _is_constant(name: str, value: np.ndarray) -> bool:
    """Whether a tensor holds what follows from the arguments."""
    parts = name.split(".")
    return (
        name.endswith(_CONSTANTS)
        or name.startswith(_NEVER_READ)
        or parts[-1].startswith(("_w3j", "_cg"))
        or parts[-1].endswith("_zeroed")
        or (parts[-1] in ("weight", "bias") and not value.size)
        or name in ("r_max", "num_interactions")
        or (parts[0] == "radial_embedding" and parts[-1] in ("r_max", "n"))
    )


def _precision(state: Mapping[str, np.ndarray]) -> str:
    found = state.get("node_embedding.linear.weight")
    return "float32" if found is None or found.dtype != np.float64 else "float64"


def _model_config(state: StateDict, arguments: Settings, scale: float) -> MACEConfig:
    model = model_config(arguments)
    cutoff = float(state.tensors.get("r_max", np.asarray(model.cutoff)))
    if not np.isclose(cutoff, model.cutoff, rtol=1e-6):
        raise ValueError(f"r_max is {cutoff} in the state dict, {model.cutoff} in the arguments")
    state.take("radial_embedding.cutoff_fn.p")
    changes: dict[str, Any] = {}
    if arguments.get("pair_repulsion") or "pair_repulsion_fn.c" in state.tensors:
        changes["priors"] = (zbl_prior(state, scale),)
    for tensor, block in zip(
        contractions(model, 0).couplings(state), contractions(model, 0).blocks, strict=True
    ):
        there = all_couplings(model.l_max, block.degree, block.order).shape[-1]
        if tensor.shape[-1] != there:
            changes["couplings"] = "reduced"
    return model.model_copy(update=changes)


def _variables(
    state: StateDict, model: MACEConfig, numbers: tuple[int, ...]
) -> dict[str, dict[str, Any]]:
    params: dict[str, np.ndarray] = {}
    for layout in layouts(model, len(numbers)):
        prefix = f"{layout.path}/" if layout.path else ""
        params |= {prefix + key: value for key, value in layout.read(state).items()}
    buffers = {f"basis/{key}": value for key, value in _radial(state, model, numbers).items()}
    for path, _ in sums_over_species(model):
        prefix = f"{path}/" if path else ""
        buffers[f"{prefix}species_scale"] = np.asarray(len(numbers) ** -0.5)
    for layer in range(model.num_layers):
        layout = contractions(model, layer)
        for index, (block, tensor) in enumerate(
            zip(layout.blocks, layout.couplings(state), strict=True)
        ):
            matrix = change_of_basis(block, np.asarray(tensor, np.float64))
            buffers[f"{layout.path}/basis_{index}"] = matrix
    return {
        "params": unflatten_dict(params, sep="/"),
        "buffers": unflatten_dict(buffers, sep="/"),
    }


def _radial(state: StateDict, model: MACEConfig, numbers: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the constants of the radial functions."""
    name = "radial_embedding"
    found: dict[str, np.ndarray] = {}
    if model.radial == "bessel":
        found["frequencies"] = state.take(f"{name}.bessel_fn.bessel_weights")
        found["prefactor"] = state.take(f"{name}.bessel_fn.prefactor")
    elif model.radial == "gaussian":
        found["centers"] = state.take(f"{name}.bessel_fn.gaussian_weights")
    transform = f"{name}.distance_transform"
    if model.distance_transform is not None:
        found["radii"] = state.take(f"{transform}.covalent_radii")[list(numbers)]
    if model.distance_transform == "agnesi":
        found["agnesi"] = np.stack([state.take(f"{transform}.{key}") for key in "qpa"])
    elif model.distance_transform == "soft":
        if f"{transform}.b" in state.tensors:
            raise ValueError(
                "mace-torch before 0.3.10 has another Soft transform (with a and b instead of "
                "alpha), which is not supported"
            )
        found["steepness"] = state.take(f"{transform}.alpha")
    return found
