"""Small potentials and structures that many tests share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule

import tensornet_jax
import tensornet_jax.potential.potential as potential_module
from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet.radial import RadialBasis
from tensornet_jax.potential import prediction
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential

EXAMPLE = Path(tensornet_jax.__file__).parent / "data/examples/ethanol_gfn2"
"""Folder of the data that come with the package."""

ELEMENTS = ElementTable((1, 6, 7, 8, 14), np.array([-13.6, -1029.5, -1485.3, -2042.6, -7.8]))


# Of `jax.jit`, for programs that run once or twice: compiling them is most of a test's time.
UNOPTIMIZED: dict[str, Any] = {"xla_backend_optimization_level": 0}


def unoptimized(*flags: str) -> dict[str, str]:
    """Return what makes a process compile so, for its environment, with more flags of XLA."""
    more = ("--xla_backend_optimization_level=0", *flags)
    return {"XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *more])}


@cache
def small_potential(seed: int = 0, dtype: str = "float64", **options) -> Potential:
    """Return an untrained TensorNet of eight channels whose energies are a few eV.

    It is made once for each set of arguments: compiling the initialization takes seconds.
    """
    options = {"num_channels": 8, "num_layers": 2, "num_radial": 6, "cutoff": 4.0, **options}
    config = TensorNetConfig(**options)
    return create_potential(config, ELEMENTS, seed=seed, dtype=dtype, energy_scale=2.0)


def with_config(potential: Potential, **changes: Any) -> Potential:
    """Return a TensorNet with the same weights and some options changed.

    Unlike `small_potential` it compiles nothing; the radial functions get their start values.
    """
    config = TensorNetConfig(**(potential.config.model_dump() | changes))
    params = {k: v for k, v in potential.variables["params"].items() if k != "radial"}
    with potential.precision():
        basis = RadialBasis(config, potential.dtype)
        radial = basis.init(jax.random.key(0), jax.numpy.ones(1, potential.dtype))
    if config.trainable_radial:
        variables = {"params": {**params, "radial": radial["params"]}, "buffers": {}}
    else:
        # Smooth Bessel functions have nothing to store.
        buffers = {"radial": radial["buffers"]} if radial else {}
        variables = {"params": params, "buffers": buffers}
    return potential.replace(config=config, variables=variables)


Kind = TypeVar("Kind", bound=ModelConfig)
MANY_STRUCTURES = Capacity(graphs=128, atoms=256, pairs=2560, slots=32)


@contextmanager
def evaluating_in_one_shape(capacity: Capacity = MANY_STRUCTURES) -> Iterator[None]:
    """Make `Potential.evaluate` pad to one shape: compiling it again would dominate the tests."""
    holding = Capacity.holding

    def at_least(structures, *room):
        needed = holding(structures, *room)
        return Capacity(*map(max, needed, capacity))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(potential_module.Capacity, "holding", at_least)
        # One of the atoms is always padding.
        patch.setattr(potential_module, "ATOMS_PER_BATCH", capacity.atoms - 1)
        yield


def num_compiled() -> int:
    """Return how often `Potential.evaluate` has been compiled in this process."""
    return prediction.predict_jit._cache_size()  # pyright: ignore[reportAttributeAccessIssue]


def config_of(potential: Potential, kind: type[Kind]) -> Kind:
    """Return the configuration of a potential, which must be of a kind."""
    assert isinstance(potential.config, kind)
    return potential.config


def in_box(atoms: ase.Atoms) -> ase.Atoms:
    """Return a molecule in a cell that is not periodic, so that it has a stress."""
    atoms = atoms.copy()
    atoms.set_cell([[9.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.0, -1.0, 10.0]])
    atoms.pbc = False
    return atoms


def ethanol(seed: int = 0, amplitude: float = 0.05) -> ase.Atoms:
    """Return ethanol off its equilibrium geometry, where no force vanishes by symmetry."""
    atoms = molecule("CH3CH2OH")
    atoms.positions += np.random.default_rng(seed).normal(scale=amplitude, size=(len(atoms), 3))
    return atoms


def triclinic_crystal() -> ase.Atoms:
    """Return a small crystal whose cell has the form that OpenMM, i-PI and LAMMPS ask for."""
    atoms = bulk("C", "diamond", a=3.7, cubic=True)
    atoms.set_cell([[3.7, 0, 0], [0.5, 3.8, 0], [-0.4, 0.6, 3.9]], scale_atoms=True)
    atoms.symbols[0] = "O"
    atoms.rattle(0.05, seed=1)
    return atoms


def rattled_crystals() -> dict[str, ase.Atoms]:
    """Return periodic structures of every kind a neighbor list has to be right for."""
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
