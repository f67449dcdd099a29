"""Labels get one set of names and units, whatever the source called them."""

from typing import Any

import numpy as np
import pydantic
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from tensornet_jax.data.labels.canonical import check_configured, labelled_structure
from tensornet_jax.data.labels.labels import LabelConfig, LabelUnits
from tensornet_jax.units import conversion_factor

FORCES = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])
STRESS = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])


def dimer(periodic: bool = False, **info: Any) -> Atoms:
    atoms = Atoms("HF", [[0, 0, 0], [0, 0, 0.9]], cell=np.diag([4.0, 5.0, -6.0]), pbc=periodic)
    atoms.info.update(info)
    return atoms


def canonical(atoms, **config):
    return labelled_structure(atoms, LabelConfig.model_validate(config), "file.xyz:3")


@pytest.mark.parametrize(
    "key", ["REF_energy", "energy", "Energy", "dft_energy", "E", "free_energy"]
)
def test_energy_is_found_under_usual_names(key):
    atoms = canonical(dimer(False, **{key: -3.5}))
    assert atoms.energy == -3.5
    assert atoms.keys == {"energy": key}
    assert set(atoms.atoms.info) == {"charge"}
    assert set(atoms.to_atoms().info) == {"REF_energy", "charge", "source", "label_keys"}


@pytest.mark.parametrize("key", ["REF_forces", "forces", "force", "F"])
def test_forces_are_found_under_usual_names(key):
    atoms = dimer()
    atoms.arrays[key] = FORCES
    np.testing.assert_array_equal(canonical(atoms).labels.of("forces"), FORCES)


def test_gradient_is_minus_the_force():
    atoms = dimer()
    atoms.arrays["gradient"] = FORCES
    np.testing.assert_array_equal(canonical(atoms).labels.of("forces"), -FORCES)


def test_labels_in_a_calculator_are_found_and_the_calculator_is_dropped():
    atoms = dimer(periodic=True)
    voigt = STRESS[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.0, forces=FORCES, stress=voigt, dipole=[1.0, 2.0, 3.0]
    )
    result = canonical(atoms)
    found = result.labels
    assert found["energy"] == -1.0
    np.testing.assert_array_equal(found["forces"], FORCES)
    np.testing.assert_array_equal(found["stress"], STRESS)
    np.testing.assert_array_equal(found["dipole"], [1.0, 2.0, 3.0])
    assert result.atoms.calc is None
    assert atoms.calc is not None, "the input was changed"


def test_forces_of_constrained_atoms_are_not_zeroed():
    atoms = dimer()
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=FORCES)
    assert not atoms.get_forces()[0].any()
    result = canonical(atoms)
    np.testing.assert_array_equal(result.labels.of("forces"), FORCES)
    assert len(result.atoms.constraints) == 1


@pytest.mark.parametrize("shape", [(3, 3), (9,), (6,)])
def test_stress_shapes_agree(shape):
    value = STRESS[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] if shape == (6,) else STRESS
    atoms = canonical(dimer(True, stress=np.reshape(value, shape)))
    np.testing.assert_array_equal(atoms.labels.of("stress"), STRESS)


def test_virial_is_minus_stress_times_volume_in_a_left_handed_cell():
    atoms = dimer(True, virial=STRESS)
    assert np.linalg.det(atoms.cell.array) < 0
    np.testing.assert_allclose(canonical(atoms).labels.of("stress"), -STRESS / 120.0, rtol=1e-14)


def test_stress_of_a_molecule_is_missing_and_noted():
    atoms = canonical(dimer(False, stress=STRESS, REF_stress=STRESS))
    assert np.isnan(atoms.labels.of("stress")).all()
    assert "stress" not in atoms.labels
    assert atoms.ignored["stress"] == (
        "REF_stress (no periodic cell)",
        "stress (no periodic cell)",
    )


def test_reference_key_wins_and_the_other_is_noted():
    atoms = canonical(dimer(REF_energy=-1.0, energy=-2.0))
    assert atoms.energy == -1.0
    assert atoms.ignored == {"energy": ("energy (another value)",)}
    equal = canonical(dimer(REF_energy=-1.0, energy=-1.0))
    assert equal.ignored == {"energy": ("energy",)}


def test_configured_key_wins_over_all_aliases_and_missing_is_not_replaced():
    assert canonical(dimer(E=-2.0, REF_energy=-1.0), energy="E").energy == -2.0
    assert np.isnan(canonical(dimer(REF_energy=-1.0), energy="E").energy)


def test_missing_labels_are_absent_and_nan_where_asked_for():
    structure = canonical(dimer())
    assert not structure.labels
    assert np.isnan(structure.energy)
    shapes = {"energy": (), "forces": (2, 3), "stress": (3, 3), "dipole": (3,), "alpha": ()}
    for name, shape in shapes.items():
        label = structure.labels.of(name)
        assert label.shape == shape
        assert np.isnan(label).all()


def test_nan_means_missing():
    atoms = dimer(energy=float("nan"))
    atoms.arrays["forces"] = np.full((2, 3), np.nan)
    result = canonical(atoms)
    assert result.keys == {}
    assert "energy" not in result.labels
    assert set(result.to_atoms().arrays) == {"numbers", "positions"}


def test_infinite_label_is_an_error_naming_the_frame():
    with pytest.raises(ValueError, match=r"file.xyz:3: energy is infinite"):
        canonical(dimer(energy=float("inf")))
    with pytest.raises(ValueError, match=r"stress is infinite"):
        canonical(dimer(True, stress=np.full(6, np.inf)))


@pytest.mark.parametrize("key", ["charge", "total_charge"])
def test_total_charge_is_read_and_defaults_to_zero(key):
    assert canonical(dimer(False, **{key: np.int64(-1)})).state.charge == -1.0
    assert canonical(dimer()).state.charge == 0.0


def test_per_atom_charges_are_not_the_total_charge():
    atoms = dimer(charge=np.array([0.3, 0.4]))
    atoms.arrays["total_charge"] = np.array([0.3, 0.4])
    assert canonical(atoms).state.charge == 0.0


def test_contradicting_charges_are_refused():
    with pytest.raises(ValueError, match="charge and total_charge differ"):
        canonical(dimer(charge=1, total_charge=0))


def test_units_are_converted():
    atoms = dimer(True, energy=1.0, stress=STRESS, virial=STRESS, dipole=[0.0, 0.0, 1.0])
    atoms.arrays["forces"] = FORCES
    units = {"energy": "Hartree", "length": "Bohr", "stress": "GPa", "dipole": "Debye"}
    result = canonical(atoms, units=units)
    hartree, bohr = conversion_factor("Hartree", "energy"), conversion_factor("Bohr", "length")
    found = result.labels
    assert found["energy"] == hartree
    np.testing.assert_allclose(found["forces"], FORCES * hartree / bohr, rtol=1e-14)
    np.testing.assert_allclose(found["stress"], STRESS / 160.21766, rtol=1e-6)
    np.testing.assert_allclose(found["dipole"][2], 0.20819434, rtol=1e-6)
    np.testing.assert_allclose(result.atoms.positions, atoms.positions * bohr)
    np.testing.assert_allclose(result.atoms.cell.array, atoms.cell.array * bohr)
    by_virial = canonical(atoms, virial="virial", units={"energy": "Hartree", "length": "Bohr"})
    np.testing.assert_allclose(
        by_virial.labels.of("stress"), -STRESS * hartree / (120.0 * bohr**3), rtol=1e-12
    )


def test_positions_of_constrained_atoms_are_converted_too():
    atoms = dimer()
    atoms.set_constraint(FixAtoms([0, 1]))
    result = canonical(atoms, units={"length": "nm"})
    np.testing.assert_allclose(result.atoms.positions, atoms.positions * 10)


def test_unknown_unit_or_key_is_refused_when_the_configuration_is_built():
    with pytest.raises(pydantic.ValidationError, match="unit 'MeV' is not a known energy unit"):
        LabelUnits(energy="MeV")
    with pytest.raises(pydantic.ValidationError, match=r"labels.forces and labels.gradient"):
        LabelConfig(forces="f", gradient="g")
    with pytest.raises(pydantic.ValidationError):
        LabelConfig.model_validate({"force": "f"})


def test_configured_label_of_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match=r"labels.energy is 'x', which has shape \(2,\)"):
        canonical(dimer(x=np.zeros(2)), energy="x")


def test_asymmetric_stress_is_not_taken_for_a_stress():
    lopsided = STRESS + np.array([[0, 1.0, 0], [0, 0, 0], [0, 0, 0]])
    assert np.isnan(canonical(dimer(True, stress=lopsided)).labels.of("stress")).all()


def test_key_absent_from_all_structures_is_an_error_naming_those_present():
    with pytest.raises(ValueError, match=r"labels.energy is 'U'.*present: E, stress"):
        check_configured(LabelConfig(energy="U"), {"stress", "E"})


def test_periodic_without_a_cell_ghosts_and_bad_positions_are_refused():
    flat = Atoms("H", cell=[3, 3, 0], pbc=(True, True, True))
    with pytest.raises(ValueError, match="cell does not span"):
        canonical(flat)
    with pytest.raises(ValueError, match="ghost atoms"):
        canonical(Atoms("X"))
    with pytest.raises(ValueError, match=r"file.xyz:3: positions or cell are not finite"):
        canonical(Atoms("H", [[0, 0, np.nan]]))
    slab = Atoms("H", cell=[3, 3, 0], pbc=(True, True, False))
    assert canonical(slab).atoms.pbc.tolist() == [True, True, False]


def test_canonical_labels_are_a_fixed_point():
    atoms = dimer(True, energy=-1.0, stress=STRESS, charge=1, dipole=[1.0, 2.0, 3.0])
    atoms.arrays["forces"] = FORCES
    once = canonical(atoms)
    twice = canonical(once.to_atoms())
    assert tuple(once.labels) == ("energy", "forces", "stress", "dipole")
    for name, label in once.labels.items():
        np.testing.assert_array_equal(label, twice.labels[name])
    assert twice.state.charge == 1.0


@pytest.mark.parametrize("key", ["spin", "spin_multiplicity", "multiplicity"])
def test_spin_multiplicity_is_read_where_there_is_one(key):
    spin = canonical(dimer(False, **{key: np.int64(3)})).state.spin
    assert (spin, type(spin)) == (3, int)
    assert canonical(dimer()).state.spin is None


def test_numbers_of_unpaired_electrons_become_multiplicities():
    units = {"spin": "unpaired_electrons"}
    assert canonical(dimer(raw=2, spin=9), spin="raw", units=units).state.spin == 3
    with pytest.raises(pydantic.ValidationError, match=r"name the key that has them, labels.spin"):
        LabelConfig.model_validate({"units": units})


def test_named_states_are_looked_for_alone_and_must_be_numbers():
    found = canonical(dimer(q=-1, charge=2, note=1, spin=3), charge="q", spin="note")
    assert (found.state.charge, found.state.spin) == (-1.0, 1)
    with pytest.raises(ValueError, match=r"file.xyz:3: labels.spin is 'q', which is 'two'"):
        canonical(dimer(q="two"), spin="q")
    with pytest.raises(ValueError, match=r"labels.charge: no structure has|charge"):
        check_configured(LabelConfig(charge="q"), {"energy"})


def test_contradicting_spins_are_refused():
    with pytest.raises(ValueError, match="spin and multiplicity differ"):
        canonical(dimer(spin=1, multiplicity=3))


@pytest.mark.parametrize("charge", ["neutral", None])
def test_a_total_charge_that_is_no_number_is_refused(charge):
    atoms = Atoms("H", info={"charge": charge})
    with pytest.raises(ValueError, match=r"a.xyz:0: charge is .*not a number"):
        labelled_structure(atoms, LabelConfig(), "a.xyz:0")
