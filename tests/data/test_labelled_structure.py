"""Labels, state and weights of a structure are fields; its Atoms carry what a potential reads."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.electronic_state import ElectronicState
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.labels.stated_units import StatedUnits

FORCES = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])


def hydroxide(**info: object) -> Atoms:
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"energy": -1.0, "name": "ion", **info})
    atoms.arrays["forces"] = FORCES
    return atoms


def read(atoms: Atoms, **config: object) -> LabelledStructure:
    return labelled_structure(atoms, LabelConfig.model_validate(config), "a.xyz:3")


def test_atoms_carry_geometry_state_and_what_is_none_of_the_packages_business():
    tensors = {"alpha": "alpha", "shielding": {"key": "nmr", "per": "atom"}}
    atoms = hydroxide(
        charge=-1, multiplicity=1, config_weight=2, config_energy_weight=3, alpha=np.ones(9)
    )
    atoms.arrays["nmr"] = np.ones((2, 9))
    found = read(atoms, tensors=tensors)
    assert found.atoms.info == {"name": "ion", "charge": -1.0, "spin": 1}
    assert set(found.atoms.arrays) == {"numbers", "positions"}
    assert tuple(found.labels) == ("energy", "forces", "alpha", "shielding")
    assert found.labels.of_atoms == {"forces", "shielding"}
    assert found.labels["shielding"].shape == (2, 3, 3)
    assert found.state == ElectronicState(-1.0, 1)
    assert (found.weights.of("energy"), found.weights.of("forces")) == (6.0, 2.0)
    assert found.keys["shielding"] == "nmr"


def test_labels_cannot_be_changed_in_place():
    labels = read(hydroxide()).labels
    with pytest.raises(ValueError, match="read-only"):
        labels["forces"][0, 0] = 1.0


def test_the_units_of_the_file_are_kept():
    stated = StatedUnits({"energy": "Hartree"})
    found = labelled_structure(hydroxide(), LabelConfig(), "a.xyz:0", stated)
    assert found.units.energy == "Hartree"
    assert found.energy == pytest.approx(-27.211386, rel=1e-6)


def test_atoms_that_carry_everything_read_back_as_the_same_structure():
    atoms = hydroxide(charge=-1, free_energy=-1.5, config_energy_weight=3, alpha=np.ones(9))
    once = read(atoms, tensors={"alpha": "alpha"})
    annotated = once.to_atoms()
    assert annotated.info["label_keys"]["energy"] == "energy"
    assert annotated.info["source"] == "a.xyz:3"
    twice = read(annotated)
    assert tuple(once.labels) == tuple(twice.labels)
    for name, label in once.labels.items():
        np.testing.assert_array_equal(label, twice.labels[name])
    assert (once.state, once.weights, once.free_energy) == (
        *(twice.state, twice.weights, twice.free_energy),
    )
    assert twice.atoms.info == once.atoms.info
    assert "source" not in once.to_atoms(notes=False).info


def test_a_given_state_reaches_the_atoms_and_silences_doubts_about_the_charge():
    atoms = hydroxide()
    atoms.set_initial_charges([-1.2, 0.2])
    found = read(atoms)
    assert len(found.remarks) == 1
    assert len(found.with_state(None, 3).remarks) == 1
    given = found.with_state(-1.0, 3)
    assert given.remarks == ()
    assert (given.atoms.info["charge"], given.atoms.info["spin"]) == (-1.0, 3)
    assert found.atoms.info["charge"] == 0.0


def test_other_labels_are_of_no_key_of_the_file():
    found = read(hydroxide(charge=-1, free_energy=-1.5))
    other = found.with_labels(Labels(2, {"energy": -7.0}))
    assert (other.energy, tuple(other.labels)) == (-7.0, ("energy",))
    assert other.keys == {"charge": "charge"}
    assert np.isnan(other.free_energy)
    assert not found.without_labels().labels


def test_a_changed_copy_leaves_the_structure_as_it_is():
    found = read(hydroxide())
    moved = replace(found, labels=found.labels.replaced({"energy": -5.0}))
    assert (found.energy, moved.energy) == (-1.0, -5.0)
    np.testing.assert_array_equal(moved.labels["forces"], FORCES)
