"""First velocities and the motions that dynamics conserves."""

import ase.build
import ase.constraints
import numpy as np
import pytest
from ase import units

from tensornet_jax.md.velocities import bring_to_rest, motions_at_rest, thermal_velocities


def warm(name):
    atoms = ase.build.molecule(name)
    atoms.rotate(50, (1, 2, 3))
    atoms.set_velocities(thermal_velocities(atoms, 300, np.random.default_rng(0)))
    return atoms


@pytest.mark.parametrize(("name", "removed"), [("CO2", 5), ("CH4", 6), ("H2", 5)])
def test_a_molecule_at_rest_neither_moves_nor_turns(name, removed):
    atoms = warm(name)
    assert motions_at_rest(atoms) == 0
    assert bring_to_rest(atoms) == removed
    assert motions_at_rest(atoms) == removed
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-9
    assert np.abs(atoms.get_angular_momentum()).max() < 1e-9
    assert atoms.get_kinetic_energy() > 0


def test_a_molecule_that_turns_has_three_motions_at_rest():
    atoms = warm("CH4")
    momenta = atoms.get_momenta()
    atoms.set_momenta(
        momenta - atoms.get_masses()[:, None] * momenta.sum(0) / atoms.get_masses().sum()
    )
    assert motions_at_rest(atoms) == 3


def test_a_fixed_atom_takes_up_momentum_so_nothing_is_removed():
    atoms = ase.build.molecule("CH4")
    atoms.set_constraint(ase.constraints.FixAtoms([0]))
    atoms.set_velocities(thermal_velocities(atoms, 300, np.random.default_rng(0)))
    before = atoms.get_momenta()
    assert bring_to_rest(atoms) == 0
    np.testing.assert_array_equal(atoms.get_momenta(), before)
    assert (before[0] == 0).all()


def test_velocities_have_the_maxwell_boltzmann_width():
    atoms = ase.Atoms("HAr" * 5000, np.zeros((10_000, 3)))
    velocities = thermal_velocities(atoms, 500, np.random.default_rng(1))
    for part in (slice(0, None, 2), slice(1, None, 2)):
        energy = atoms.get_masses()[part, None] * velocities[part] ** 2 / (units.kB * 500)
        # A squared normal number has variance 2: 15,000 of them know the mean to 0.0115.
        assert energy.mean() == pytest.approx(1, abs=3 * (2 / 15_000) ** 0.5)
