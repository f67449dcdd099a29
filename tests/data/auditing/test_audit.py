"""Silent faults of data become an error or a warning before the first step."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.auditing.consistency import force_work_slope, stress_work_slope
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.labels import LabelConfig, Labels
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.references import reference_energies
from tests.builders import EXAMPLE

RNG = np.random.default_rng(0)


def structure(index=0, energy=-10.0, forces=None, **info):
    """Return a labelled water molecule, a different one for each index."""
    positions = np.random.default_rng(index).normal(size=(3, 3))
    atoms = Atoms("OH2", positions)
    if forces is None:
        forces = np.array([[0.5, 0, 0], [-0.25, 0, 0], [-0.25, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    atoms.info.update(info)
    return labelled_structure(atoms, LabelConfig(), f"file.xyz:{index}")


def unlabelled(index=0):
    atoms = Atoms("OH2", np.random.default_rng(index).normal(size=(3, 3)))
    return labelled_structure(atoms, LabelConfig(), f"file.xyz:{index}")


def with_labels(structure, **labels):
    return structure.with_labels(Labels(len(structure), labels))


def emt(atoms, index=0, scale=1.0):
    """Return atoms with EMT labels, forces and stress multiplied by scale."""
    atoms.calc = EMT()
    energy, forces, stress = (
        atoms.get_potential_energy(),
        atoms.get_forces(apply_constraint=False),
        atoms.get_stress(voigt=False, apply_constraint=False),
    )
    atoms.calc = SinglePointCalculator(
        atoms, energy=energy, forces=scale * forces, stress=scale * stress
    )
    return labelled_structure(atoms, LabelConfig(), f"file.xyz:{index}")


def trajectory(scale=1.0, wrap=False):
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.2, seed=1)
    frames = []
    for index in range(12):
        atoms.positions += np.random.default_rng(index).normal(scale=0.03, size=(8, 3))
        if wrap:
            atoms.wrap()
        frames.append(emt(atoms.copy(), index, scale))
    return frames


def strained(scale=1.0):
    frames = []
    for index, factor in enumerate(np.linspace(0.95, 1.05, 9)):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
        frames.append(emt(atoms, index, scale))
    return [frames[i] for i in RNG.permutation(9)]


def test_clean_data_have_neither_errors_nor_warnings():
    data = [structure(i, energy=-10.0 - i) for i in range(4)]
    result = audit(data, reference_energies({"H": -1.0, "O": -7.0}, data))
    assert result.errors == []
    assert result.warnings == []
    assert (result.structures, result.atoms, result.sizes) == (4, 12, (3, 3.0, 3))
    assert result.elements == {"H": 8, "O": 4}
    assert result.periodicity == {"none": 4}
    assert result.energy_per_atom == pytest.approx((-11.5 / 3, np.std([0, 1, 2, 3]) / 3))
    assert result.residual_per_atom[0] == pytest.approx(-2.5 / 3)
    assert result.force_max == 0.5
    assert result.force_rms == pytest.approx(np.sqrt(0.375 / 9))
    assert result.labelled == {"energy": 4, "forces": 4, "stress": 0, "dipole": 0}
    assert result.label_keys["forces"] == {"forces": 4}


def test_lines_show_what_was_found():
    data = [structure(0), structure(1), unlabelled(2)]
    text = "\n".join(audit(data, reference_energies("least_squares", data)).lines())
    for expected in (
        "structures           3",
        "H 6, O 3",
        "2 found, 1 missing; from energy 2",
        "0 found, 3 missing",
        "0.5000 eV/Å in file.xyz:0",
        "least squares on 2 energies; rank 1 of 2",
        "warning: the data do not determine the reference energies of H, O separately (rank 1",
    ):
        assert expected in text
    assert "\t" not in text


def test_no_labels_at_all_is_an_error():
    bare = unlabelled()
    bare.atoms.info["binding"] = -1.0
    (error,) = audit([bare]).errors
    assert error.startswith("no structure has an energy, forces, a dipole or a tensor")
    assert error.endswith("keys present: binding")


def test_energies_without_forces_are_no_error():
    data = [with_labels(structure(i), energy=-10.0) for i in range(2)]
    assert audit(data).errors == []
    assert np.isnan(audit(data).force_rms)


def test_all_zero_forces_are_an_error_and_some_a_warning():
    zero = np.zeros((3, 3))
    lone = labelled_structure(Atoms("H", info={"energy": -1.0}), LabelConfig(), "file.xyz:9")
    lone = with_labels(lone, energy=-1.0, forces=np.zeros((1, 3)))
    result = audit([structure(0, forces=zero), structure(1, forces=zero), lone])
    assert any("all forces of all 2 structures" in text for text in result.errors)
    result = audit([structure(0, forces=zero), structure(1), lone])
    assert result.errors == []
    assert any("1 of 2 structures have forces of exactly zero" in t for t in result.warnings)


def test_constrained_atoms_are_counted_and_saved_zeros_recognized():
    kept, lost = (structure(i) for i in range(2))
    for each in (kept, lost):
        each.atoms.set_constraint(FixAtoms([0]))
    saved = lost.labels.of("forces").copy()
    saved[0] = 0.0
    lost = with_labels(lost, energy=-10.0, forces=saved)
    result = audit([kept, structure(2)])
    assert result.constrained_atoms == 1
    assert any("read without constraints (0 of 1 are zero)" in t for t in result.warnings)
    assert any("saved that way" in text for text in audit([lost]).warnings)


def test_large_forces_are_counted_with_their_source():
    huge = np.array([[60.0, 0, 0], [-60.0, 0, 0], [0, 0, 0]])
    data = [structure(0), structure(1, forces=huge)]
    assert audit(data).warnings == ["2 atoms in 1 structures have |F| > 50 eV/Å: file.xyz:1 (60)"]
    assert audit(data, force_limit=70).warnings == []


def test_net_force_is_reported():
    pushed = structure(1, forces=np.full((3, 3), 0.2))
    result = audit([structure(0), pushed])
    assert result.net_force[1] == pytest.approx(0.6 * np.sqrt(3))
    assert any("1 structures have a net force above 0.1" in text for text in result.warnings)


def test_repeated_frames_are_counted_and_contradictions_told():
    result = audit([structure(0), structure(1), structure(0)])
    assert result.repeated == 1
    assert ["repeat an earlier one" in text for text in result.warnings] == [True]
    result = audit([structure(0), structure(0, energy=-9.0)])
    assert any("another energy than the first" in text for text in result.warnings)
    charged = structure(0, charge=1)
    assert audit([structure(0), charged]).repeated == 0


def test_a_label_passed_over_is_told():
    result = audit([structure(0, REF_energy=-5.0)])
    assert result.label_keys["energy"] == {"REF_energy": 1}
    assert any("energy is not used in 1 structures, REF_energy is" in t for t in result.warnings)
    molecule = structure(0, stress=np.eye(3))
    assert any("stress (no periodic cell)" in text for text in audit([molecule]).warnings)


def test_configured_key_without_a_usable_label_is_an_error():
    (error,) = audit([structure(0)], labels=LabelConfig(energy="U", forces="forces")).errors
    assert "labels.energy is 'U'" in error


def test_infinite_labels_and_positions_are_errors():
    data = [structure(0), structure(1)]
    forces = data[0].labels.of("forces").copy()
    forces[:2, 0] = [np.inf, -np.inf]
    data[0] = with_labels(data[0], energy=np.inf, forces=forces)
    data[1].atoms.positions[0, 0] = np.nan
    errors = audit(data).errors
    assert "file.xyz:0: infinite energy: remove it" in errors
    assert any(error.startswith("file.xyz:1: positions are not finite") for error in errors)


def test_reference_energies_of_other_units_or_elements_are_noticed():
    data = [structure(0)]
    hydrogen = labelled_structure(Atoms("H2", info={"REF_energy": -1.0}))
    table = reference_energies({"H": -13.6}, [hydrogen])
    assert audit(data, table).errors == ["element O (file.xyz:0) has no reference energy"]
    far = reference_energies({"H": -13.6, "O": -2040.0}, data)
    assert any("more than 12 eV per atom" in text for text in audit(data, far).warnings)


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match="no structures"):
        audit([])


@pytest.mark.parametrize("wrap", [False, True])
def test_trajectory_with_right_labels_has_slope_one(wrap):
    found = force_work_slope(trajectory(wrap=wrap))
    assert found is not None
    assert found.pairs == 11
    assert found.slope == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("scale", [-1.0, 23.06, 0.0194, 0.4, 2.5])
def test_wrong_unit_or_sign_of_forces_is_a_warning(scale):
    warnings = audit(trajectory(scale)).warnings
    assert any("units or sign of forces" in text for text in warnings)


@pytest.mark.parametrize("scale", [-1.0, 160.2, 0.1])
def test_wrong_unit_or_sign_of_stress_is_a_warning(scale):
    result = audit(strained(scale))
    assert any("units or sign of stress" in text for text in result.warnings)
    assert result.force_work is None


def test_strained_crystal_with_right_stress_has_slope_one():
    found = stress_work_slope(strained())
    assert found is not None
    assert found.pairs >= 8
    assert found.slope == pytest.approx(1.0, abs=0.05)


def test_unrelated_frames_are_not_taken_for_a_trajectory():
    assert force_work_slope([structure(i) for i in range(20)]) is None
    assert force_work_slope([]) is None


@pytest.mark.parametrize("name", ["ag3", "carbene"])
def test_real_trajectories_pass_and_fail_with_the_sign_turned(small_reference, name):
    data = read_labelled(small_reference(f"{name}.xyz"))
    found = force_work_slope(data)
    assert found is not None
    assert found.slope == pytest.approx(1.0, abs=0.05)
    turned = [
        with_labels(each, energy=each.energy, forces=-each.labels.of("forces")) for each in data
    ]
    assert force_work_slope(turned).slope < 0  # type: ignore[union-attr]


def test_real_silicon_has_the_right_sign_and_unit_of_stress(shared_data):
    data = read_labelled(shared_data("mlearn/Si_train.xyz"))
    result = audit(data, reference_energies("least_squares", data))
    assert result.stress_work is not None
    assert result.stress_work.slope == pytest.approx(1.0, abs=0.05)
    assert result.errors == []
    assert result.periodicity == {"xyz": 214}
    assert any("28 of 214 structures have forces of exactly zero" in t for t in result.warnings)


def test_real_ethanol_is_clean_but_for_its_one_composition():
    data = read_labelled(EXAMPLE / "train.xyz")
    result = audit(data, reference_energies("least_squares", data))
    assert result.errors == []
    assert len(result.warnings) == 1
    assert "rank 1 of 3" in result.warnings[0]
    assert result.label_keys["dipole"] == {"dipole": 1000}
    assert result.net_force[1] < 1e-6
