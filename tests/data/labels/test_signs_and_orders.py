"""Signs, orders and what not to read are stated, and then read as they are stated."""

import ase.io
import numpy as np
import pydantic
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled

STRESS = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
ORDERS = {
    "voigt": [1.0, 2.0, 3.0, 0.4, 0.5, 0.6],
    "vasp": [1.0, 2.0, 3.0, 0.6, 0.4, 0.5],
    "lammps": [1.0, 2.0, 3.0, 0.6, 0.5, 0.4],
    "upper_triangle": [1.0, 0.6, 0.5, 2.0, 0.4, 3.0],
    "zz, yy, xx, zy, zx, yx": [3.0, 2.0, 1.0, 0.4, 0.5, 0.6],
}


def crystal(**info):
    return Atoms("HF", [[0, 0, 0], [0, 0, 1]], cell=[4, 5, 6], pbc=True, info=info)


def stress_of(atoms, **config):
    found = labelled_structure(atoms, LabelConfig.model_validate(config), "f.xyz:0")
    return found.labels.of("stress")


@pytest.mark.parametrize("order", ORDERS)
def test_six_numbers_are_read_in_the_order_that_is_stated(order):
    np.testing.assert_array_equal(
        stress_of(crystal(REF_stress=np.array(ORDERS[order])), stress_order=order), STRESS
    )
    virial = stress_of(crystal(virials=np.array(ORDERS[order])), stress_order=order)
    np.testing.assert_allclose(virial, -STRESS / 120.0, rtol=1e-15)


@pytest.mark.parametrize("key", ["stress", "my_stress"])
def test_six_numbers_of_a_file_are_read_in_the_order_that_is_stated(tmp_path, key):
    six = " ".join(map(str, ORDERS["vasp"]))
    path = tmp_path / "vasp.xyz"
    path.write_text(
        f'1\nLattice="4 0 0 0 5 0 0 0 6" pbc="T T T" Properties=species:S:1:pos:R:3 {key}="{six}"\n'
        "H 0 0 0\n"
    )
    config = LabelConfig(stress=key, stress_order="vasp", stress_sign="compression_positive")
    (atoms,) = read_labelled(path, config)
    np.testing.assert_array_equal(atoms.labels.of("stress"), -STRESS)


def test_a_full_matrix_that_ase_has_reordered_keeps_its_components(tmp_path):
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, stress=ORDERS["voigt"])
    path = tmp_path / "ase.xyz"
    ase.io.write(path, atoms, format="extxyz")
    (read,) = read_labelled(path, LabelConfig(stress_order="vasp"))
    np.testing.assert_array_equal(read.labels.of("stress"), STRESS)


def test_signs_are_those_that_are_stated():
    atoms = crystal(stress=STRESS)
    np.testing.assert_array_equal(stress_of(atoms, stress_sign="compression_positive"), -STRESS)
    atoms = crystal(virial=STRESS)
    np.testing.assert_allclose(
        stress_of(atoms, virial_sign="tension_positive"), STRESS / 120.0, rtol=1e-15
    )


@pytest.mark.parametrize("order", ["xx", "xx,yy,zz,yz,xz,xz", "a,b,c,d,e,f", ""])
def test_what_is_no_order_of_six_components_is_refused(order):
    with pytest.raises(pydantic.ValidationError, match="no order of six components"):
        LabelConfig(stress_order=order)


@pytest.mark.parametrize(
    "key", ["REF_virials", "REF_virial", "virials", "virial", "dft_virial", "DFT_virials"]
)
def test_virials_are_found_under_the_names_in_use(key):
    np.testing.assert_allclose(stress_of(crystal(**{key: STRESS})), -STRESS / 120.0, rtol=1e-15)


def test_an_asymmetric_matrix_is_said_to_be_one():
    lopsided = STRESS + np.triu(np.ones((3, 3)), 1)
    atoms = labelled_structure(crystal(virial=lopsided), LabelConfig(), "f.xyz:0")
    assert atoms.ignored["stress"] == ("virial (is not a symmetric matrix)",)
    with pytest.raises(ValueError, match=r"labels.virial is 'virial', which is not a symmetric"):
        stress_of(crystal(virial=lopsided), virial="virial")


def test_forces_of_exactly_zero_can_be_missing_but_not_those_of_a_lone_atom():
    atoms = crystal()
    atoms.arrays["forces"] = np.array([[0.0, -0.0, 0.0], [0.0, 1.0, 0.0]])
    config = LabelConfig(zero_forces="missing")
    forces = labelled_structure(atoms, config, "f.xyz:0").labels.of("forces")
    np.testing.assert_array_equal(np.isnan(forces).all(axis=1), [True, False])
    np.testing.assert_array_equal(forces[1], [0.0, 1.0, 0.0])
    lone = Atoms("H")
    lone.arrays["forces"] = np.zeros((1, 3))
    assert not labelled_structure(lone, config, "f.xyz:0").labels.of("forces").any()


def test_labels_that_are_to_be_ignored_are_not_read():
    atoms = crystal(stress=STRESS, virial=STRESS, energy=-1.0)
    found = labelled_structure(atoms, LabelConfig(ignore=("stress",)), "f.xyz:0").labels
    assert tuple(found) == ("energy",)
    with pytest.raises(pydantic.ValidationError, match=r"labels.virial is given and stress"):
        LabelConfig(ignore=("stress",), virial="virial")


def test_a_label_of_weight_zero_is_missing():
    atoms = crystal(energy=0.0, stress=STRESS, config_energy_weight="0.0", alpha=np.ones(9))
    atoms.info["config_alpha_weight"] = 0
    atoms.arrays["forces"] = np.ones((2, 3))
    config = LabelConfig.model_validate({"tensors": {"alpha": "alpha"}})
    assert tuple(labelled_structure(atoms, config, "f.xyz:0").labels) == ("forces", "stress")
    atoms.info["config_weight"] = 0
    assert tuple(labelled_structure(atoms, config, "f.xyz:0").labels) == ()


def test_a_weight_that_is_none_stops_reading_with_file_and_frame():
    with pytest.raises(ValueError, match=r"f.xyz:0: config_forces_weight is -1"):
        stress_of(crystal(config_forces_weight=-1))
