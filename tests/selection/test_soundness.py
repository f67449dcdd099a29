"""What cannot be worth a label is found, and why."""

import ase
import ase.build
import numpy as np
import pytest

from tensornet_jax.selection.soundness import (
    ABSURD,
    KNOWN,
    REFUSED,
    REPEATED,
    TOO_CLOSE,
    absurd,
    repetitions,
    unsuitable,
)
from tests.builders import small_potential
from tests.labelling import labelled


def pair(distance: float, symbols: str = "CH", **options) -> ase.Atoms:
    return ase.Atoms(symbols, [[0, 0, 0], [distance, 0, 0]], **options)


def test_repetitions_name_what_they_repeat():
    first, second = pair(1.1), pair(1.2)
    candidates = labelled([first, second, first.copy()])
    found = repetitions(candidates, labelled([pair(1.2)], "known.xyz"))
    assert {k: each.kind for k, each in found.items()} == {1: KNOWN, 2: REPEATED}
    assert "file.xyz:0" in found[2].reason
    assert "known.xyz:0" in found[1].reason


# 0.76 and 0.31 Å are the radii.
@pytest.mark.parametrize(("distance", "sound"), [(0.63, False), (0.65, True)])
def test_distances_are_held_against_covalent_radii(distance, sound):
    potential = small_potential(num_layers=0)
    (structure,) = labelled([pair(distance)])
    found = unsuitable(potential, structure, 0.6)
    if sound:
        assert found is None
    else:
        assert found is not None
        assert found.kind == TOO_CLOSE
        assert "atom 0 (C) and atom 1 (H) are 0.63 Å apart" in found.reason
    assert unsuitable(potential, structure, 0.0) is None


def test_images_are_too_close_as_well():
    potential = small_potential(num_layers=0)
    (crowded,) = labelled([ase.Atoms("Si", cell=[1.0, 8, 8], pbc=True)])
    found = unsuitable(potential, crowded, 0.6)
    assert found is not None
    assert found.kind == TOO_CLOSE
    (sound,) = labelled([ase.build.bulk("Si")])
    assert unsuitable(potential, sound, 0.6) is None


def test_atoms_in_one_place_and_unknown_elements_are_left_out():
    potential = small_potential(num_layers=0)
    (together, strange) = labelled([pair(0.0), pair(2.0, "Pt2")])
    found = unsuitable(potential, together, 0.6)
    assert found is not None
    assert found.kind == TOO_CLOSE
    found = unsuitable(potential, strange, 0.6)
    assert found is not None
    assert found.kind == REFUSED
    assert "Pt" in found.reason
    assert "file.xyz:1" in found.reason


def test_forces_must_be_finite_and_below_the_limit():
    forces = np.array([[0.0, 0.0, 1.0], [3.0, 4.0, 0.0]])
    assert absurd(forces, 5.1) is None
    found = absurd(forces, 4.9)
    assert found is not None
    assert found.kind == ABSURD
    assert "5 eV/Å on atom 1" in found.reason
    assert absurd(np.full((1, 3), np.nan), 50.0) is not None
    assert absurd(np.zeros((0, 3)), 50.0) is None
