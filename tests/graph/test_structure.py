"""Structures prepared on the host: species, positions within the cell, pairs and charges."""

import ase
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.graph.structure import make_structure
from tests.builders import rattled_crystals

ELEMENTS = (1, 6, 8, 14)


@pytest.mark.parametrize("name", rattled_crystals())
def test_wrapping_positions_keeps_every_edge_vector(name):
    atoms = rattled_crystals()[name]
    rng = np.random.default_rng(0)
    moved = atoms.copy()
    moved.positions += (rng.integers(-40, 40, (len(atoms), 3)) * atoms.pbc) @ atoms.cell.array

    def vectors(structure):
        found = structure.pairs.vectors(structure.positions, structure.cell)
        return np.sort(np.linalg.norm(found, axis=1))

    one, other = (make_structure(each, ELEMENTS, 4.0) for each in (atoms, moved))
    np.testing.assert_allclose(vectors(one), vectors(other), atol=1e-11)
    scaled = one.positions @ np.linalg.pinv(one.cell[one.pbc])
    assert (scaled > -1e-9).all()
    assert (scaled < 1 + 1e-9).all()


def test_unknown_element_is_named_with_its_structure():
    with pytest.raises(ValueError, match=r"element Pt.*structure 17.*\[H, C, O, Si\]"):
        make_structure(ase.Atoms("PtH", [[0, 0, 0], [0, 0, 2]]), ELEMENTS, 4.0, " (structure 17)")


def test_charge_is_read_from_info_and_must_be_one_number():
    atoms = molecule("H2O")
    atoms.info["charge"] = -1
    assert make_structure(atoms, ELEMENTS, 4.0).charge == -1
    atoms.info["charge"] = [0.1, 0.2, 0.3]
    with pytest.raises(ValueError, match="charge"):
        make_structure(atoms, ELEMENTS, 4.0)
