"""The list that is kept between structures: its skin, and when it is made anew."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS

from tensornet_jax.calculator import Calculator
from tests.calculator.crystals import CRYSTALS, make_potential, num_edges


@pytest.mark.parametrize("name", ["bulk", "slab", "smaller_than_cutoff"])
def test_skin_adds_exactly_nothing(calc, potential, name):
    """Pairs between cutoff and cutoff + skin are in the list and contribute zero."""
    atoms = CRYSTALS[name].copy()
    listed = {}
    results = {}
    for skin in (0.0, 0.5, 1.0):
        calc.reset()
        calc._evaluator.neighborhood, calc.skin = None, skin
        results[skin] = [calc.get_property(key, atoms) for key in ("energies", "forces", "stress")]
        listed[skin] = num_edges(calc)
    calc.skin = 0.5
    assert listed[0.0] < listed[0.5] < listed[1.0]
    for skin in (0.5, 1.0):
        for found, expected in zip(results[skin], results[0.0], strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("name", CRYSTALS)
def test_kept_list_gives_what_a_new_one_does_while_atoms_and_cell_move(calc, name):
    rng = np.random.default_rng(7)
    atoms = CRYSTALS[name].copy()
    for _ in range(12):
        atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.004, (3, 3))), scale_atoms=True
        )
        kept = [calc.get_property(key, atoms) for key in ("energy", "forces", "stress")]
        rebuilds, neighborhood = calc.num_rebuilds, calc._evaluator.neighborhood
        calc.reset()
        calc._evaluator.neighborhood = None
        new = [calc.get_property(key, atoms) for key in ("energy", "forces", "stress")]
        calc.reset()
        calc._evaluator.neighborhood = neighborhood
        calc._evaluator.num_rebuilds = rebuilds
        for found, expected in zip(kept, new, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-10)
    assert 1 <= calc.num_rebuilds < 8


def test_wrapping_atoms_during_a_run_is_noticed(calc):
    atoms = CRYSTALS["skewed"].copy()
    energy = calc.get_property("energy", atoms)
    atoms.positions[2] += atoms.cell.array[0]
    np.testing.assert_allclose(calc.get_property("energy", atoms), energy, atol=1e-10)
    assert calc.num_rebuilds == 2


def test_a_thousand_steps_of_dynamics_compile_once():
    atoms = molecule("CH3CH2OH")
    # An architecture of its own: arrays made for larger structures would be exchanged on the way.
    calc = Calculator(make_potential(num_channels=5))
    atoms.calc = calc
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=300, rng=rng)
    friction = 0.02 / units.fs
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=300, friction=friction, rng=rng, fixcm=False
    )
    dynamics.run(1000)
    assert np.isfinite(atoms.positions).all()
    assert calc.num_compiles == 1
    assert 1 < calc.num_rebuilds < 250
    forces = atoms.get_forces()
    calc.reset()
    calc._evaluator.neighborhood = None
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-10)
    assert calc.num_compiles == 1


def test_relaxation_of_a_cell_keeps_its_list(calc):
    atoms = CRYSTALS["skewed"].copy()
    atoms.calc = calc
    cell_filter = FrechetCellFilter(atoms)
    # ASE documents filters here; its annotation names Atoms alone.
    optimizer = BFGS(cell_filter, logfile=None, maxstep=0.02)  # pyright: ignore[reportArgumentType]
    with optimizer:
        optimizer.run(fmax=0.0, steps=8)
    assert calc.num_rebuilds <= 3
