"""Structures that two sets share are found, whatever file, order and rounding they come in."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import bulk

from tensornet_jax.data.auditing.overlap import overlap, overlap_warnings
from tensornet_jax.data.labelled_structure import LabelledStructure
from tests.labelling import labelled


def molecules(num: int) -> list[LabelledStructure]:
    rng = np.random.default_rng(0)
    sites = np.array([[0.0, 0, 0], [0.9, 0, 0], [0, 0.9, 0]])
    made = [Atoms("OHH", sites + 0.1 * rng.normal(size=(3, 3))) for _ in range(num)]
    return labelled(made, "a.xyz")


def rounded(structure: LabelledStructure, decimals: int) -> LabelledStructure:
    copy = structure.atoms.copy()
    copy.positions = np.round(copy.positions, decimals)
    return replace(structure, atoms=copy)


def test_the_same_structures_are_found_in_another_order_and_rounded():
    first = molecules(50)
    second = [rounded(first[k], 5) for k in (31, 4)]
    assert overlap(first, second) == [(31, 0), (4, 1)]
    assert overlap(first[:31], second) == [(4, 1)]


def test_structures_that_only_resemble_each_other_are_not_the_same():
    (structure,) = molecules(1)
    others = [structure.atoms.copy() for _ in range(4)]
    others[0].positions[1, 0] += 5e-3  # a step of dynamics
    others[1].numbers[0] = 16
    others[2].info["charge"] = 1.0
    others[3].pbc = True
    others[3].cell = np.eye(3) * 9
    assert overlap([structure], labelled(others)) == []


def test_the_cell_counts_along_periodic_directions_only():
    crystal = bulk("Cu")
    strained = crystal.copy()
    strained.set_cell(crystal.cell.array * 1.01)
    boxed = crystal.copy()
    boxed.pbc = False
    other_box = boxed.copy()
    other_box.set_cell(crystal.cell.array * 2)
    assert overlap(labelled([crystal]), labelled([crystal.copy(), strained])) == [(0, 0)]
    assert overlap(labelled([boxed]), labelled([other_box])) == [(0, 0)]


def test_a_warning_has_the_number_and_the_first_examples():
    train = molecules(12)
    test = [replace(train[index], source=f"b.xyz:{index}") for index in range(5)]
    unseen = [*test, *labelled([bulk("Cu")])]
    (text,) = overlap_warnings({"train": train, "validation": [], "unseen": unseen})
    assert text.startswith("5 of 6 structures of the unseen set are also in the training set, e.g.")
    assert "b.xyz:0 is a.xyz:0, b.xyz:1 is a.xyz:1, b.xyz:2 is a.xyz:2:" in text
    two = overlap_warnings({"train": train[6:], "validation": train[:3], "unseen": test})
    assert [text.split(",")[0] for text in two] == [
        "3 of 5 structures of the unseen set are also in the validation set"
    ]
