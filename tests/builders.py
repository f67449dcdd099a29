"""Small potentials and structures that many tests share."""

import ase
import numpy as np
from ase.build import bulk, fcc111, molecule

from tensornet_jax.models.tensornet import TensorNetConfig
from tensornet_jax.potential import ElementTable, Potential, create_potential

ELEMENTS = ElementTable((1, 6, 7, 8, 14), np.array([-13.6, -1029.5, -1485.3, -2042.6, -7.8]))


def small_potential(seed: int = 0, dtype: str = "float64", **options) -> Potential:
    """Return an untrained TensorNet of eight channels whose energies are a few eV."""
    options = {"num_channels": 8, "num_layers": 2, "num_radial": 6, "cutoff": 4.0, **options}
    config = TensorNetConfig(**options)
    return create_potential(config, ELEMENTS, seed=seed, dtype=dtype, energy_scale=2.0)


def ethanol(seed: int = 0, amplitude: float = 0.05) -> ase.Atoms:
    """Return ethanol off its equilibrium geometry, where no force vanishes by symmetry."""
    atoms = molecule("CH3CH2OH")
    atoms.positions += np.random.default_rng(seed).normal(scale=amplitude, size=(len(atoms), 3))
    return atoms


def rattled_crystals() -> dict[str, ase.Atoms]:
    """Return periodic structures of every kind a neighbour list has to be right for."""
    skewed = bulk("Si", cubic=True)
    shear = np.array([[1, 0.3, 0.1], [0, 1, -0.2], [0, 0, 1]])
    skewed.set_cell(skewed.cell.array @ shear, scale_atoms=True)
    left_handed = bulk("Si", cubic=True)
    left_handed.set_cell(left_handed.cell.array[[1, 0, 2]])
    slab = fcc111("Si", (2, 2, 2), a=4.5, vacuum=6.0, orthogonal=False)
    slab.pbc = (True, True, False)
    wire = bulk("Si", cubic=True)
    wire.set_cell(np.diag([5.43, 14.0, 14.0]))
    wire.pbc = (True, False, False)
    structures = {
        "bulk": bulk("Si", cubic=True),
        "skewed": skewed,
        "left-handed": left_handed,
        "smaller than the cutoff": bulk("Si"),
        "slab": slab,
        "wire": wire,
    }
    for index, atoms in enumerate(structures.values()):
        atoms.rattle(0.08, seed=index)
    return structures
