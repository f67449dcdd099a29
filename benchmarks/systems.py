"""The nine systems that energies, forces and dynamics are timed on, 9 to 648 atoms."""

from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np

STRUCTURES = Path(__file__).parent / "structures"
# Number density of liquid water at 300 K, molecules per Å³.
WATER_DENSITY = 0.0334


def nine_systems() -> dict[str, ase.Atoms]:
    """Return molecules, a cluster and two periodic boxes of water, by name and in order of size."""
    periodic = water(4)
    cluster = periodic.copy()
    cluster.cell, cluster.pbc = np.zeros((3, 3)), False
    return {
        "ethanol": ase.build.molecule("CH3CH2OH"),
        "aspirin": _read("aspirin"),
        "alanine dipeptide": _read("alanine_dipeptide"),
        "3BPA": _read("3bpa"),
        "C60": ase.build.molecule("C60"),
        "chignolin": _read("chignolin"),
        "water 192, cluster": cluster,
        "water 192, periodic": periodic,
        "water 648, periodic": water(6),
    }


def water(side: int, seed: int = 0) -> ase.Atoms:
    """Return side³ water molecules, turned at random, on a cubic lattice of liquid density."""
    rng = np.random.default_rng(seed)
    molecule = ase.build.molecule("H2O")
    molecule.positions -= molecule.positions.mean(axis=0)
    spacing = WATER_DENSITY ** (-1 / 3)
    positions = []
    for corner in np.ndindex(side, side, side):
        one = molecule.copy()
        one.euler_rotate(*rng.uniform(0, 360, 3))
        positions.append(one.positions + np.array(corner) * spacing)
    return ase.Atoms(
        numbers=np.tile(molecule.numbers, side**3),
        positions=np.concatenate(positions),
        cell=np.full(3, side * spacing),
        pbc=True,
    )


def _read(name: str) -> ase.Atoms:
    atoms = ase.io.read(STRUCTURES / f"{name}.xyz")
    assert isinstance(atoms, ase.Atoms)
    return atoms
