"""Read AceFF, Acellera's potentials of drug-like molecules: TensorNet (1.x) and TensorNet2 (2.0).

They are checkpoints of torchmd-net in eV and Å. What AceFF adds is what a checkpoint does not say:
the elements it was trained on, and that its energies leave the isolated atoms out.
"""

import os
from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers

from tensornet_jax.interop.torch.files import Settings
from tensornet_jax.interop.torchmd_net import checkpoint as torchmd_net
from tensornet_jax.interop.torchmd_net.files import MODEL_ARGUMENTS, read_checkpoint
from tensornet_jax.potential.potential import ElementTable, Potential

ELEMENTS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
"""What all published versions were trained on."""


def from_checkpoint(
    path: str | os.PathLike[str],
    *,
    coulomb_cutoff: float | None = None,
    dtype: str | None = None,
) -> Potential:
    """Build the potential of a published AceFF file.

    Args:
        path: ``aceff_v2.0.ckpt`` or the like (needs torch), or an .npz of the same.
        coulomb_cutoff: as in `from_state_dict`.
        dtype: "float32" or "float64"; by default what ``precision`` says.

    Raises:
        ImportError: a checkpoint, and torch is not installed.
        ValueError: as in `from_state_dict`, or the file is of another kind.
    """
    checkpoint = read_checkpoint(path, "auto")
    potential = from_state_dict(
        checkpoint.state, checkpoint.config, coulomb_cutoff=coulomb_cutoff, dtype=dtype
    )
    return potential.replace(metadata={**potential.metadata, "layout": checkpoint.layout})


def from_state_dict(
    state: Mapping[str, np.ndarray],
    config: Settings,
    *,
    coulomb_cutoff: float | None = None,
    dtype: str | None = None,
) -> Potential:
    """Build the potential of AceFF's weights.

    Energies are those AceFF is published with: without the energies of isolated atoms, so E0 = 0.

    Args:
        state: torchmd-net's names → arrays.
        config: torchmd-net's model arguments.
        coulomb_cutoff: AceFF-2.0: Å within which charges see each other, with a reaction field
            beyond; None for all pairs of a molecule, which periodic structures cannot have.
        dtype: "float32" or "float64"; by default what ``precision`` says.

    Raises:
        ValueError: a cutoff for a version without charges; as in `torchmd_net.from_state_dict`.
    """
    settings = {key: config[key] for key in MODEL_ARGUMENTS if key in config}
    settings["elements"] = sorted(atomic_numbers[symbol] for symbol in ELEMENTS)
    if coulomb_cutoff is not None:
        if settings.get("model") != "tensornet2":
            raise ValueError(
                f"coulomb_cutoff has no meaning for a {settings.get('model')}: only AceFF-2.0 has "
                "a Coulomb energy"
            )
        settings["coulomb_cutoff"] = coulomb_cutoff
    potential = torchmd_net.from_state_dict(state, settings, dtype=dtype)
    elements = potential.elements
    zero = ElementTable(elements.numbers, np.zeros_like(elements.reference_energies))
    metadata = {
        "source": "AceFF (Acellera, Apache-2.0)",
        "energies": "without the isolated atoms' energies: E0 = 0",
        "config": settings,
    }
    return potential.replace(elements=zero, metadata=metadata)
