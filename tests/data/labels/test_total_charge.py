"""Total charges that nobody states."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.total_charge import charge_of_smiles


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [
        ("[H]N([H])[H]", 0),
        ("[H][N+]([H])([H])[H]", 1),
        ("[NH4+].[Cl-]", 0),
        ("[Fe+3]", 3),
        ("[Fe+++]", 3),
        ("[O-2]", -2),
        ("C[C@@H:2]([NH3+:1])C(=O)[O-:7]", 0),
        ("[13CH3-]", -1),
        ("C-C", 0),
    ],
)
def test_charges_of_smiles(smiles, charge):
    assert charge_of_smiles(smiles) == charge


def remarks(atoms, **config):
    found = labelled_structure(atoms, LabelConfig.model_validate(config), "a.xyz:3")
    assert found.state.charge == atoms.info.get("charge", 0)
    return found.remarks


def test_charges_of_atoms_that_sum_to_an_ion_are_told_where_no_total_charge_is():
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]])
    assert not remarks(atoms)
    atoms.set_initial_charges([-1.2, 0.2])
    (told,) = remarks(atoms)
    assert "initial_charges sum to -1 but no total charge is stated, and 0 is taken" in told
    assert "charge=-1" in told
    atoms.info["charge"] = -1
    assert not remarks(atoms)
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]])
    atoms.calc = SinglePointCalculator(atoms, charges=np.array([0.6, 0.4]))
    assert "charges sum to +1" in remarks(atoms)[0]
    atoms.calc = SinglePointCalculator(atoms, charges=np.array([0.4, -0.4]))
    assert not remarks(atoms)
