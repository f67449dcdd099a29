"""What the laws of physics are checked on: nothing in it is symmetric by accident."""

import ase
import numpy as np
from scipy.spatial.transform import Rotation

from tests.builders import ethanol, in_box, rattled_crystals


def crystals() -> dict[str, ase.Atoms]:
    """Return rattled periodic structures of every kind, with two elements in each."""
    structures = rattled_crystals()
    for atoms in structures.values():
        atoms.numbers[:: max(2, len(atoms) // 3)] = 8
    return structures


def cation() -> ase.Atoms:
    """Return a charged ethanol in a cell, which lets it have a stress."""
    atoms = in_box(ethanol())
    atoms.info["charge"] = 1.0
    return atoms


def everything() -> dict[str, ase.Atoms]:
    """Return the crystals and the molecule."""
    return {**crystals(), "charged molecule": cation()}


def random_rotation(seed: int = 0) -> np.ndarray:
    """Return a proper rotation matrix, (3, 3)."""
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
