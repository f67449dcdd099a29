"""One small potential of every kind whose features have to work together, and structures for it.

A kind is what a user may have at hand: a model of each architecture, one with tensors or charges,
with priors, that depends on the spin, compressed, or converted from another program.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import ase
import ase.build
import numpy as np

from tensornet_jax.interop import mace
from tensornet_jax.interop.torchmd_net.checkpoint import from_state_dict, to_state_dict
from tensornet_jax.models import MODELS
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.results import Results
from tensornet_jax.potential.uncertainty.estimate import with_rigidity, with_spread
from tests.labelling import labelled
from tests.models.every_model import SMALL

NUMBERS = (1, 6, 8)
ENERGIES = np.array([-13.6, -1029.0, -2041.0])
CUTOFF = 3.2
# Of potentials with several.
HEAD = "second"
# eV; untrained networks then have forces of about 1 eV/Å.
SCALES = {"tensornet": 5.0, "tensornet2": 1.0, "mace": 50.0, "escn": 0.5}


def _created(name: str, scale: float | None = None, **options: Any) -> Potential:
    config = MODELS[name][0].model_validate(
        {"name": name} | SMALL[name] | {"cutoff": CUTOFF, **options}
    )
    several = len(options.get("levels", ())) > 1
    elements = ElementTable(NUMBERS, np.stack([ENERGIES, 0.5 * ENERGIES]) if several else ENERGIES)
    scale = scale or SCALES[name]
    return create_potential(config, elements, seed=0, dtype="float64", energy_scale=scale)


# As MACE-MPA-0, in small.
OF_MACE_TORCH: dict[str, Any] = {
    "parametrization": "mace",
    "num_layers": 1,
    "readout_width": None,
    "correlation": 2,
    "first_layer": "residual",
    "neighbor_normalization": "density",
    "distance_transform": "agnesi",
}


def _converted_mace() -> Potential:
    # Its weights are larger.
    made = _created("mace", scale=8.0, **OF_MACE_TORCH)
    return mace.from_state_dict(*mace.to_state_dict(made))


TENSORS: dict[str, Any] = {
    "heads": ["energy", "dipole"],
    "dipole_form": "charges_and_dipoles",
    "tensors": [
        {"name": "polarizability", "width": 4},
        {"name": "shielding", "symmetry": "ij", "per": "atom", "width": 4},
        {"name": "band_gap", "symmetry": "scalar", "mean": True, "width": 4},
        {"name": "reactivity", "symmetry": "scalar", "per": "atom", "width": 4},
    ],
}

VARIANTS: dict[str, Callable[[], Potential]] = {
    "tensornet": lambda: _created("tensornet"),
    "tensornet2": lambda: _created("tensornet2"),
    "mace": lambda: _created("mace", num_layers=1),
    "escn": lambda: _created("escn", num_layers=1, l_max=1, m_max=1),
    "tensors": lambda: _created("tensornet", **TENSORS),
    "mace with tensors": lambda: _created("mace", num_layers=1, hidden_l_max=2, **TENSORS),
    "torchmd-net's dipole": lambda: _created("tensornet", heads=["energy", "dipole"]),
    "tensors alone": lambda: _created("tensornet", heads=[], tensors=["polarizability"]),
    "two levels of theory": lambda: _created("tensornet", levels=["first", HEAD]),
    "charge and spin": lambda: _created("tensornet", electronic_state=["charge", "spin"]),
    "priors": lambda: _created("tensornet", priors=[{"name": "zbl"}, {"name": "d2"}]),
    "fixed charges": lambda: _created("tensornet", priors=[{"name": "coulomb"}]),
    "predicted charges": lambda: _created(
        "tensornet", priors=[{"name": "coulomb", "charges": "predicted"}]
    ),
    "compressed": lambda: compress(potential("tensornet"), 1e-4),
    "with uncertainty": lambda: with_uncertainty(potential("tensornet")),
    "converted": lambda: from_state_dict(*to_state_dict(_created("tensornet", envelope="cosine"))),
    "converted mace": _converted_mace,
    "compressed mace": lambda: compress(potential("converted mace"), 1e-4),
}
"""Kind → what makes it."""

FEW: dict[str, Callable[[], Potential]] = {
    "committee of two levels": lambda: with_spread(
        _created("tensornet", num_layers=0, levels=["first", HEAD], committee=2)
    ),
}
"""Kind → what makes it; two of the others in one, which meet the commands that see both."""


@cache
def potential(variant: str) -> Potential:
    """Return the potential of a kind, made once."""
    return (VARIANTS | FEW)[variant]()


def distorted_molecules(potential: Potential, count: int) -> list[ase.Atoms]:
    """Return molecules, each distorted in its own way."""
    frames = []
    for seed in range(count):
        atoms = structure(potential, "molecule")
        atoms.rattle(0.05, seed=seed)
        frames.append(atoms)
    return frames


def put_wrong_labels(frames: Sequence[ase.Atoms], predictions: Sequence[Results]) -> None:
    """Label structures with energies and forces as predicted, and an error."""
    rng = np.random.default_rng(0)
    for atoms, found in zip(frames, predictions, strict=True):
        if "energy" in found:
            atoms.info["REF_energy"] = found["energy"] + rng.normal(scale=0.1)
            atoms.arrays["REF_forces"] = found["forces"] + rng.normal(
                scale=0.1, size=(len(atoms), 3)
            )


def with_uncertainty(potential: Potential) -> Potential:
    """Return a potential with standard deviations."""
    frames = distorted_molecules(potential, 8)
    put_wrong_labels(frames, potential.evaluate(frames))
    structures = labelled(frames)
    sample = [each.atoms for each in structures[:5]]
    return with_rigidity(potential, sample, structures[5:], regularizer=1e-4)


def _molecule() -> ase.Atoms:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.03, seed=1)
    return atoms


def _crystal() -> ase.Atoms:
    atoms = ase.build.bulk("C", "diamond", a=3.7, cubic=True)
    atoms.symbols[0] = "O"
    atoms.rattle(0.03, seed=1)
    return atoms


def _many() -> ase.Atoms:
    # As many as the device's own neighbor list is used for by default.
    atoms = ase.build.bulk("C", "diamond", a=3.9, cubic=True).repeat(4)
    atoms.symbols[::8] = "O"
    atoms.rattle(0.03, seed=1)
    return atoms


SIZES: dict[str, Callable[[], ase.Atoms]] = {
    "molecule": _molecule,
    "crystal": _crystal,
    "512 atoms": _many,
}


def structure(potential: Potential, size: str) -> ase.Atoms:
    """Return a structure of SIZES with all that a potential asks of one."""
    atoms = SIZES[size]()
    if potential.config.needs_charges:
        # Neutral, and of few digits, so that files keep them exactly.
        charges = np.full(len(atoms), 0.1)
        oxygen = atoms.numbers == 8
        charges[oxygen] = -0.1 * np.count_nonzero(~oxygen) / np.count_nonzero(oxygen)
        atoms.set_initial_charges(charges)
    if potential.config.num_levels > 1:
        atoms.info["head"] = HEAD
    if potential.config.needs_spin:
        # Of an even number of electrons, which all of them have.
        atoms.info["spin"] = 1
    return atoms


def properties(potential: Potential, atoms: ase.Atoms) -> tuple[str, ...]:
    """Return what a potential predicts of a structure, second derivatives left out."""
    absent = {"free_energy", "hessian", "polar_tensors"}
    absent |= {"dipole"} if atoms.pbc.any() else {"stress", "stress_std"}
    return tuple(name for name in potential.properties if name not in absent)
