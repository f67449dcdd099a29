"""Labels that are scalars of structures or atoms: their keys, and what comes back from a file."""

import ase
import ase.io
import numpy as np
import pytest

from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled, read_structures


def test_scalars_are_read_under_the_first_of_their_keys_and_survive_a_canonical_file(tmp_path):
    atoms = ase.Atoms("OH2", np.eye(3))
    atoms.info["gap"] = 1.5
    atoms.arrays["hirshfeld"] = np.array([-0.5, 0.25, 0.25])
    other = ase.Atoms("H2", np.eye(3)[:2])
    other.arrays["q"] = np.array([0.125, -0.125])
    ase.io.write(tmp_path / "a.xyz", [atoms, other], format="extxyz")
    label = {"key": "q", "aliases": ["hirshfeld"], "per": "atom", "factor": 2.0}
    labels = LabelConfig.model_validate({"tensors": {"q": label, "gap": "gap"}})
    first, second = read_structures(tmp_path / "a.xyz", labels)
    assert first.info["label_keys"]["q"] == "hirshfeld"
    np.testing.assert_array_equal(first.arrays["REF_q"].ravel(), [-1.0, 0.5, 0.5])
    assert first.info["REF_gap"].item() == 1.5
    np.testing.assert_array_equal(second.arrays["REF_q"].ravel(), [0.25, -0.25])
    write_canonical(tmp_path / "b.xyz", read_labelled(tmp_path / "a.xyz", labels))
    again, _ = read_structures(tmp_path / "b.xyz")
    np.testing.assert_array_equal(again.arrays["REF_q"].ravel(), [-1.0, 0.5, 0.5])
    assert again.info["REF_gap"].item() == 1.5


def test_scalars_of_arrays_are_told_apart_by_what_they_belong_to(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"gap": rng.normal(size=4), "q": rng.normal(size=(4, 3))}
    positions = rng.normal(size=(4, 3, 3))
    np.savez(tmp_path / "a.npz", z=[8, 1, 1], R=positions, gap=arrays["gap"], q=arrays["q"])
    tensors = {
        "gap": {"key": "gap"},
        "charge_q": {"key": "Q", "aliases": ["q"], "per": "atom"},
    }
    found = read_structures(tmp_path / "a.npz", LabelConfig.model_validate({"tensors": tensors}))
    for index, atoms in enumerate(found):
        assert atoms.info["REF_gap"].item() == arrays["gap"][index]
        np.testing.assert_array_equal(atoms.arrays["REF_charge_q"].ravel(), arrays["q"][index])


def test_a_key_that_is_named_must_be_there_under_one_of_its_names(tmp_path):
    ase.io.write(tmp_path / "a.xyz", ase.Atoms("H"), format="extxyz")
    labels = {"tensors": {"q": {"key": "q", "aliases": ["hirshfeld"]}}}
    with pytest.raises(ValueError, match=r"labels.tensors.q is 'q', which no structure has"):
        read_structures(tmp_path / "a.xyz", LabelConfig.model_validate(labels))
