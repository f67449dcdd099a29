"""Labels that are tensors: keys, forms and masks of data, and what comes back from a file."""

import ase.io
import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.tensors import to_mandel, to_voigt

RNG = np.random.default_rng(0)
ALPHA = RNG.normal(size=(3, 3))
SHIELDING = RNG.normal(size=(2, 9))
STIFFNESS = np.einsum("ij,kl->ijkl", np.eye(3), np.eye(3)) * 3.0


def water(**info) -> Atoms:
    atoms = Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]])
    atoms.info.update(info)
    return atoms


def labels(atoms: Atoms, **tensors):
    config = LabelConfig.model_validate({"tensors": tensors})
    return labelled_structure(atoms, config, "file:0").labels


def test_a_tensor_of_the_structure_in_every_form():
    atoms = water(alpha=ALPHA, c=to_voigt(STIFFNESS, 2).ravel(), m=to_mandel(STIFFNESS, 2))
    found = labels(
        atoms,
        polarizability={"key": "alpha", "factor": 0.5},
        voigt={"key": "c", "form": "voigt"},
        mandel={"key": "m", "form": "mandel"},
    )
    np.testing.assert_allclose(found.tensors["polarizability"], 0.5 * ALPHA)
    np.testing.assert_allclose(found.tensors["voigt"], STIFFNESS)
    np.testing.assert_allclose(found.tensors["mandel"], STIFFNESS)
    assert tuple(found) == ("polarizability", "voigt", "mandel")


def test_a_mask_takes_labels_of_atoms_away(tmp_path):
    atoms = water()
    atoms.arrays["nmr"], atoms.arrays["has"] = SHIELDING, np.array([1, 0])
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    config = LabelConfig.model_validate({"tensors": {"shielding": {"key": "nmr", "mask": "has"}}})
    (read,) = read_labelled(tmp_path / "a.xyz", config)
    found = read.labels.tensors["shielding"]
    np.testing.assert_allclose(found[0], SHIELDING[0].reshape(3, 3), atol=1e-8)
    assert np.isnan(found[1]).all()
    assert read.keys == {"shielding": "nmr"}


def test_canonical_labels_survive_a_file(tmp_path):
    config = LabelConfig.model_validate({"tensors": {"c": {"key": "c", "form": "voigt"}}})
    structure = labelled_structure(water(c=to_voigt(STIFFNESS, 2).ravel()), config, "file:0")
    atoms = structure.to_atoms(notes=False)
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    (again,) = read_labelled(
        tmp_path / "a.xyz", LabelConfig.model_validate({"tensors": {"c": "REF_c"}})
    )
    np.testing.assert_allclose(again.labels.tensors["c"], STIFFNESS)


def test_numbers_that_are_no_tensor_are_refused_by_name():
    with pytest.raises(ValueError, match=r"file:0: labels.tensors.x is 'x'.*3, 9, 27, 81 numbers"):
        labels(water(x=np.zeros(5)), x="x")
    with pytest.raises(ValueError, match="each of 2 atoms"):
        labels(water(x=np.zeros(9)), x={"key": "x", "per": "atom"})
    with pytest.raises(ValueError, match="infinite"):
        labels(water(x=np.full(9, np.inf)), x="x")


def test_a_named_key_that_no_structure_has_is_an_error(tmp_path):
    ase.io.write(tmp_path / "a.xyz", water(y=1.0), format="extxyz")
    config = LabelConfig.model_validate({"tensors": {"x": "z"}})
    with pytest.raises(ValueError, match=r"labels.tensors.x is 'z', which no structure has"):
        read_labelled(tmp_path / "a.xyz", config)
