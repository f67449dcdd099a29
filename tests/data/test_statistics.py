"""Numbers that set up a model."""

import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.statistics import force_rms, largest, mean_neighbors


def test_force_rms_counts_labelled_components_only():
    atoms = [Atoms("H2"), Atoms("H"), Atoms("H")]
    atoms[0].arrays["REF_forces"] = np.array([[3.0, 0, 0], [np.nan, np.nan, np.nan]])
    atoms[1].arrays["REF_forces"] = np.array([[0, 4.0, 0]])
    structures = [labelled_structure(each) for each in atoms]
    assert force_rms(structures) == pytest.approx(np.sqrt(25 / 6))
    assert np.isnan(force_rms(structures[2:]))


def test_mean_neighbors_is_per_atom_not_per_structure():
    assert mean_neighbors([2, 90], [2, 10]) == 92 / 12
    assert mean_neighbors([0], [0]) == 0.0
    with pytest.raises(ValueError, match="2 edge counts for 1 structures"):
        mean_neighbors([1, 2], [1])


def test_largest_structure():
    assert largest([Atoms("H2"), Atoms("H5"), Atoms()]) == 5
    assert largest([]) == 0
