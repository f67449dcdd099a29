"""A small potential with an uncertainty, and the structures it was made of."""

from functools import cache

import ase
import ase.build
import numpy as np

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.estimate import with_rigidity
from tests.builders import small_potential


def molecules(count: int, seed: int = 0) -> list[ase.Atoms]:
    """Return distorted molecules of two kinds."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        atoms = ase.build.molecule(("H2O", "CH3OH")[index % 2])
        atoms.positions += rng.normal(scale=0.08, size=(len(atoms), 3))
        frames.append(atoms)
    return frames


def labelled_with_errors(
    potential: Potential, frames: list[ase.Atoms], seed: int = 1
) -> list[LabelledStructure]:
    """Return structures whose energies and forces are off what the potential says."""
    rng = np.random.default_rng(seed)
    found = []
    for atoms, says in zip(frames, potential.evaluate(frames), strict=True):
        size = len(atoms)
        energy = says["energy"] + rng.normal(scale=0.02 * size)
        forces = says["forces"] + rng.normal(scale=0.1, size=(size, 3))
        found.append(LabelledStructure(atoms, Labels(size, {"energy": energy, "forces": forces})))
    return found


@cache
def sure_potential(dtype: str = "float64") -> Potential:
    """Return a small potential with an uncertainty, made once."""
    potential = small_potential(num_layers=1)
    validation = labelled_with_errors(potential, molecules(8, seed=1))
    sure = with_rigidity(potential, molecules(12), validation, regularizer=1e-6)
    return sure if dtype == "float64" else sure.astype(dtype)
