"""FIRE and L-BFGS find the minima that ASE's optimizers find, of atoms and of cells."""

import os
from typing import Any

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.md import SimulationError, relax
from tests.builders import ethanol, evaluating_in_one_shape
from tests.md.analytic import Reference, analytic, argon, cluster, network
from tests.tolerances import RELAXED_DISTANCE, RELAXED_ENERGY

OPTIMIZERS = ("lbfgs", "fire")
# ASE's optimizers move atoms and cells, and neighbors with them.
ONE_STRUCTURE = Capacity(graphs=2, atoms=16, pairs=256, slots=64)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clusters_relax_to_the_minimum_of_ase_all_at_once(optimizer):
    potential = analytic("lennard_jones")
    starts = [cluster(seed) for seed in range(3)]
    found = relax(potential, starts, fmax=1e-5, optimizer=optimizer, steps=2000)
    assert found.converged.all()
    assert 5 < found.steps.min() <= found.steps.max() < 1000
    for start, ours in zip(starts, found.atoms, strict=True):
        theirs = start.copy()
        theirs.calc = Reference(potential)
        with evaluating_in_one_shape(ONE_STRUCTURE):
            BFGS(theirs, logfile=None).run(fmax=1e-5, steps=1000)
        energy = theirs.get_potential_energy()
        assert ours.get_potential_energy() == pytest.approx(energy, abs=RELAXED_ENERGY)
        np.testing.assert_allclose(
            ours.get_all_distances(), theirs.get_all_distances(), atol=RELAXED_DISTANCE
        )
        assert np.linalg.norm(ours.get_forces(), axis=1).max() <= 1e-5


@pytest.mark.parametrize(
    ("optimizer", "freedom", "pressure"),
    [
        ("lbfgs", "full", 1.0),
        pytest.param("fire", "isotropic", 0.5, marks=pytest.mark.slow),
        pytest.param("lbfgs", "full", 0.0, marks=pytest.mark.slow),
        pytest.param("lbfgs", "isotropic", 0.5, marks=pytest.mark.slow),
        pytest.param("lbfgs", "lengths", 0.0, marks=pytest.mark.slow),
        pytest.param("fire", "full", 1.0, marks=pytest.mark.slow),
        pytest.param("fire", "lengths", 0.0, marks=pytest.mark.slow),
    ],
)
def test_cells_relax_to_the_minimum_of_ase(optimizer, freedom, pressure):
    potential = analytic("lennard_jones", cutoff=5.5)
    start = argon(1, rattle=0.15)
    start.set_cell(
        start.cell.array @ (np.eye(3) + 0.03 * np.array([[1, 1, 0], [1, -1, 0.5], [0, 0.5, 0.3]])),
        scale_atoms=True,
    )
    found = relax(
        potential,
        start,
        fmax=1e-5,
        smax=1e-7,
        cell=freedom,
        pressure=pressure,
        optimizer=optimizer,
        steps=3000,
    )
    (ours,) = found.atoms
    assert found.converged.all()
    theirs = start.copy()
    theirs.calc = Reference(potential)
    masks = {"lengths": [1, 1, 1, 0, 0, 0]}
    target: Any = FrechetCellFilter(
        theirs,
        mask=masks.get(freedom),
        hydrostatic_strain=freedom == "isotropic",
        scalar_pressure=pressure * units.GPa,
    )
    with evaluating_in_one_shape(ONE_STRUCTURE):
        BFGS(target, logfile=os.devnull).run(fmax=3e-6, steps=500)

    def enthalpy(atoms):
        return atoms.get_potential_energy() + pressure * units.GPa * atoms.get_volume()

    assert enthalpy(ours) == pytest.approx(enthalpy(theirs), abs=RELAXED_ENERGY)
    np.testing.assert_allclose(
        ours.cell.cellpar(), theirs.cell.cellpar(), atol=100 * RELAXED_DISTANCE
    )
    stress = ours.get_stress(voigt=False) + pressure * units.GPa * np.eye(3)
    if freedom == "full":
        assert np.abs(stress).max() < 1e-6
    elif freedom == "isotropic":
        assert abs(np.trace(stress)) < 1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fixed_atoms_stay_and_are_no_reason_to_go_on(optimizer):
    start = argon(1)
    start.set_constraint(FixAtoms([0, 1]))
    found = relax(
        analytic("lennard_jones", cutoff=5.0), start, fmax=1e-4, optimizer=optimizer, steps=1000
    )
    (final,) = found.atoms
    assert found.converged.all()
    np.testing.assert_allclose(final.positions[:2], start.positions[:2], atol=1e-12)
    forces = np.linalg.norm(final.get_forces(apply_constraint=False), axis=1)
    assert forces[2:].max() <= 1e-4 < forces[:2].max()


def test_a_relaxed_structure_does_not_move_while_others_do():
    potential = analytic("lennard_jones")
    (relaxed,) = relax(potential, cluster(), fmax=1e-4).atoms
    found = relax(potential, [relaxed, cluster(1)], fmax=1e-3)
    assert found.steps[0] == 0
    assert found.steps[1] > 5
    np.testing.assert_allclose(found.atoms[0].positions, relaxed.positions, atol=1e-12)


def test_too_few_steps_are_no_convergence():
    found = relax(analytic("lennard_jones"), [cluster(), cluster(1)], fmax=1e-6, steps=3)
    assert not found.converged.any()
    assert found.steps.tolist() == [3, 3]


@pytest.mark.slow
def test_a_network_relaxes_downhill():
    potential = network()
    start = ethanol()
    found = relax(potential, start, fmax=0.05, steps=20)
    before = potential.evaluate(start)[0]["energy"]
    after = potential.evaluate(found.atoms[0])[0]["energy"]
    assert after < before
    assert found.atoms[0].get_potential_energy() == pytest.approx(after, abs=1e-8)


def test_the_cell_of_a_slab_is_not_relaxed():
    start = argon(1)
    start.pbc = (True, True, False)
    with pytest.raises(ValueError, match="use cell='none'"):
        relax(analytic("lennard_jones"), start, cell="full")


def test_an_energy_that_is_not_finite_is_an_error():
    potential = analytic("lennard_jones").replace(energy_scale=float("nan"))
    with pytest.raises(SimulationError, match="not finite"):
        relax(potential, cluster())
