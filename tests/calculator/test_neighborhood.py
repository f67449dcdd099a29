"""A list with a skin says that it holds only while it does."""

import ase
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.calculator.neighborhood import Neighborhood
from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.potential.potential import Potential
from tests.calculator.crystals import CRYSTALS, CUTOFF, SKEWED, in_cell, make_potential


@pytest.fixture(scope="module")
def potential() -> Potential:
    return make_potential()


def neighborhood_of(potential: Potential, atoms: ase.Atoms, skin: float):
    """A neighbor list and the pairs it holds, shifts as for the positions given."""
    structure = potential.structure(atoms, skin=skin)
    graph = to_device(batch_structures([structure], Capacity.holding([structure]), "float64"))
    energies = np.zeros(len(atoms))
    found = Neighborhood.around(atoms.copy(), structure, graph, energies, skin)
    pairs = structure.pairs
    shifts = pairs.shifts - found.images[pairs.second] + found.images[pairs.first]
    return found, {*zip(pairs.first, pairs.second, *shifts.T.astype(int), strict=True)}


@pytest.mark.parametrize("pbc", [True, (True, True, False), (False, True, False), False])
def test_a_list_that_claims_to_cover_holds_every_pair(potential, pbc):
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(60):
        atoms = in_cell(SKEWED * 1.2, pbc, seed=trial)
        listed, edges = neighborhood_of(potential, atoms, 1.0)
        strain = np.eye(3) + rng.normal(0, rng.choice([0.0, 0.04]), (3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += rng.normal(0, 0.15, (4, 3)) + rng.normal(0, 3, 3)
        if not listed.covers(atoms, CUTOFF):
            continue
        covered += 1
        now = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
        assert {*zip(now.first, now.second, *now.shifts.T, strict=True)} <= edges
    assert 10 < covered < 60


def test_list_is_renewed_just_when_two_atoms_may_have_crossed_the_skin(potential):
    atoms = molecule("CH3CH2OH")
    listed, _ = neighborhood_of(potential, atoms, 0.5)
    moved = atoms.copy()
    moved.positions[0, 0] += 0.2499
    moved.positions[1, 0] -= 0.2499
    assert listed.covers(moved, CUTOFF)
    moved.positions[0, 0] += 0.001
    moved.positions[1, 0] -= 0.001
    assert not listed.covers(moved, CUTOFF)
    drifted = atoms.copy()
    drifted.translate([100.0, 0, 0])
    assert listed.covers(drifted, CUTOFF)


def test_compressing_the_cell_alone_uses_up_the_skin(potential):
    atoms = CRYSTALS["bulk"].copy()
    listed, _ = neighborhood_of(potential, atoms, 0.5)
    for strain, covers in ((-0.10, True), (-0.14, False), (0.3, True)):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
        assert listed.covers(strained, CUTOFF) == covers
