"""Results stand where ASE looks for them, and none is lost or refused."""

from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest

from tensornet_jax.potential.results_on_atoms import attach_results, note_results


@pytest.fixture
def results():
    stress = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
    return {
        "energy": -3.0,
        "forces": np.arange(9.0).reshape(3, 3),
        "stress": stress,
        "polarizability": np.arange(9.0).reshape(3, 3),
        "shielding": np.arange(27.0).reshape(3, 3, 3),
        "dielectric_tensor": np.eye(3),
        "born_effective_charges": np.ones((3, 3, 3)),
    }


PER_ATOM = frozenset({"energies", "forces", "shielding", "born_effective_charges"})


def test_ase_gets_what_it_knows_and_info_and_arrays_the_rest(results):
    atoms = ase.build.molecule("H2O", vacuum=3.0)
    # Names that ASE's writer would find twice.
    atoms.info["energy"] = 5.0
    atoms.set_array("forces", np.zeros((3, 3)))
    attach_results(atoms, results, PER_ATOM)
    assert atoms.get_potential_energy() == -3.0
    np.testing.assert_array_equal(atoms.get_forces(), results["forces"])
    np.testing.assert_array_equal(atoms.get_stress(), [1, 2, 3, 0.4, 0.5, 0.6])
    np.testing.assert_array_equal(atoms.info["predicted_polarizability"], np.arange(9.0))
    assert atoms.arrays["predicted_shielding"].shape == (3, 9)
    assert "energy" not in atoms.info


def test_extended_xyz_keeps_all_of_it(results, tmp_path):
    atoms = ase.build.molecule("H2O", vacuum=3.0)
    attach_results(atoms, results, PER_ATOM)
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    found: Any = ase.io.read(tmp_path / "a.xyz")
    assert found.get_potential_energy() == -3.0
    np.testing.assert_allclose(found.get_stress(voigt=False), results["stress"])
    for name in ("polarizability", "dielectric_tensor"):
        np.testing.assert_allclose(found.info[f"predicted_{name}"], results[name].ravel())
    for name in ("shielding", "born_effective_charges"):
        np.testing.assert_allclose(found.arrays[f"predicted_{name}"].ravel(), results[name].ravel())


def test_three_atoms_do_not_turn_a_tensor_of_the_structure_into_one_of_atoms(results):
    atoms = ase.build.molecule("H2O")
    note_results(atoms, results, PER_ATOM)
    assert atoms.info["predicted_polarizability"].shape == (9,)
    assert atoms.info["predicted_stress"].shape == (3, 3)
    assert atoms.arrays["predicted_forces"].shape == (3, 3)
    assert isinstance(atoms.info["predicted_energy"], float)
    assert atoms.calc is None
