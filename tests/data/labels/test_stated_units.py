"""Units that files state are used, checked, or refused: never passed over."""

import json

import ase.db
import h5py
import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.labels.stated_units import stated_in
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.units import conversion_factor

KCAL = conversion_factor("kcal/mol", "energy")
HARTREE, BOHR = conversion_factor("Ha", "energy"), conversion_factor("Bohr", "length")
NUMBERS = np.array([8, 1, 1])
POSITIONS = np.random.default_rng(0).normal(size=(2, 3, 3))
ENERGIES = np.array([-2.0, -3.0])
FORCES = np.random.default_rng(1).normal(size=(2, 3, 3))
ARRAYS = {"z": NUMBERS, "R": POSITIONS, "E": ENERGIES, "F": FORCES}


def read(path, **config):
    return read_labelled(path, LabelConfig.model_validate(config))


def npz(tmp_path, **more):
    np.savez(tmp_path / "a.npz", **ARRAYS, **more)
    return tmp_path / "a.npz"


def hdf5(tmp_path, units=None, root=None, group=None, **more):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(root or {})
        water = file.create_group("water")
        water.attrs.update(group or {})
        for key, value in (ARRAYS | more).items():
            water[key] = value
        for key, unit in (units or {}).items():
            water[key].attrs["units"] = unit
    return path


@pytest.mark.parametrize(("energy", "length"), [("kcal/mol", "Ang"), ("Ha", "bohr")])
def test_units_of_sgdml_are_used(tmp_path, energy, length):
    path = npz(tmp_path, e_unit=energy, r_unit=length.encode())
    e, r = conversion_factor(energy, "energy"), conversion_factor(length, "length")
    second = read(path)[1]
    np.testing.assert_allclose(second.energy, -3 * e, rtol=1e-14)
    np.testing.assert_allclose(second.labels.of("forces"), FORCES[1] * e / r, rtol=1e-13)
    np.testing.assert_allclose(second.atoms.positions, POSITIONS[1] * r, rtol=1e-14)
    warnings = audit(read(path)).warnings
    assert any(f"energy {energy}" in text and "2 structures" in text for text in warnings)


def test_units_of_the_configuration_must_agree_with_those_of_the_file(tmp_path):
    path = npz(tmp_path, e_unit="kcal/mol")
    assert read(path, units={"energy": "kcal/mol"})[0].energy == -2 * KCAL
    with pytest.raises(
        ValueError, match=r"a.npz:0: .*kcal/mol of energy, the configuration eV: set labels.units"
    ):
        read(path, units={"energy": "eV"})
    forces = hdf5(tmp_path, units={"F": "kcal/mol/Å"})
    with pytest.raises(ValueError, match=r"follows from energy and length: set labels.units.force"):
        read(forces, units={"energy": "eV", "length": "Å"})
    np.testing.assert_allclose(read(forces)[0].labels.of("forces"), FORCES[0] * KCAL, rtol=1e-14)


@pytest.mark.parametrize("unit", ["eV/atom", "furlong", "kcal"])
def test_a_unit_that_is_not_understood_is_an_error_with_file_key_unit_and_remedy(tmp_path, unit):
    with pytest.raises(ValueError, match=rf"a.npz:0: .*energy is in '{unit}'.*labels.units.energy"):
        read(npz(tmp_path, e_unit=unit))
    path = hdf5(tmp_path, units={"E": unit})
    with pytest.raises(ValueError, match=rf"a.h5:water:0: .*that E is in '{unit}'"):
        read(path)
    # The configuration may say what it means.
    assert read(path, units={"energy": "kcal/mol"})[0].energy == -2 * KCAL


def test_words_for_no_unit_state_none(tmp_path):
    for word in ("", "n/a", "unknown", "dimensionless"):
        assert read(npz(tmp_path, e_unit=word))[0].energy == -2


@pytest.mark.parametrize(
    "attributes",
    [
        {"energy_unit": "Hartree", "length_unit": "bohr"},
        {"unit_energy": "hartree", "units_of_length": "Bohr"},
        {"units": json.dumps({"energy": "Ha", "positions": "a0"})},
        {"units": "energy: Hartree, distances = bohr"},
        {"units": "hartree; bohr"},
        {"units": "atomic units"},
        {"units": np.bytes_(b"a.u.")},
        {"E_units": "Hartree", "R_units": "bohr"},
    ],
)
@pytest.mark.parametrize("where", ["root", "group"])
def test_attributes_above_the_data_state_units(tmp_path, attributes, where):
    (first, _) = read(hdf5(tmp_path, **{where: attributes}))
    np.testing.assert_allclose(first.energy, -2 * HARTREE)
    np.testing.assert_allclose(first.labels.of("forces"), FORCES[0] * HARTREE / BOHR)
    np.testing.assert_allclose(first.atoms.positions, POSITIONS[0] * BOHR)


def test_units_of_dipoles_as_spice_writes_them(tmp_path):
    dipole = np.tile([0.0, 0.0, 0.73], (2, 1))
    path = hdf5(tmp_path, units={"scf_dipole": "elementary_charge*bohr"}, scf_dipole=dipole)
    np.testing.assert_allclose(read(path)[0].labels.of("dipole")[2], 0.73 * BOHR)


def test_the_unit_of_a_key_comes_before_that_of_a_group(tmp_path):
    path = hdf5(tmp_path, units={"E": "kcal/mol"}, root={"energy_unit": "Hartree"})
    assert read(path)[0].energy == -2 * KCAL


def test_positions_and_cell_have_one_unit(tmp_path):
    cell = np.eye(3)
    (first, _) = read(hdf5(tmp_path, units={"R": "nm", "cell": "nm"}, cell=cell))
    np.testing.assert_allclose(first.atoms.cell.lengths(), 10)
    with pytest.raises(ValueError, match=r"different units \(R in nm, cell in Å\)"):
        read(hdf5(tmp_path, units={"R": "nm", "cell": "Å"}, cell=cell))


def test_a_statement_that_names_no_quantity_is_refused_unless_the_configuration_says_all(tmp_path):
    path = hdf5(tmp_path, root={"units": "SI"})
    with pytest.raises(ValueError, match=r"'units = SI', which is not understood: state labels"):
        read(path)
    assert read(path, units={"energy": "eV", "length": "Å"})[0].energy == -2


def test_the_unit_of_a_tensor_needs_a_factor(tmp_path):
    path = hdf5(tmp_path, units={"q": "e*bohr^2"}, q=np.ones((2, 9)))
    label = {"key": "q", "per": "structure"}
    with pytest.raises(ValueError, match=r"q is in 'e\*bohr\^2': state labels.tensors.quad.factor"):
        read(path, tensors={"quad": label})
    found = read(path, tensors={"quad": label | {"factor": 2.0}})
    np.testing.assert_array_equal(found[0].labels.tensors["quad"], np.full((3, 3), 2.0))


@pytest.mark.parametrize(
    "metadata",
    [
        {"_property_unit_dict": {"U0": "kcal/mol", "f": "kcal/mol/Ang"}, "_distance_unit": "Ang"},
        {"key_descriptions": {"U0": ("U0", "internal energy", "kcal/mol")}, "force_unit": "eV/nm"},
        {"energy_unit": "kcal/mol", "units": {"forces": "kcal/mol/Å"}},
    ],
)
def test_metadata_of_a_database_state_units(tmp_path, metadata):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:  # type: ignore[attr-defined]
        database.metadata = metadata
        database.write(Atoms("H2", [[0, 0, 0], [0, 0, 1]]), data={"U0": np.array([-2.0])})
    (atoms,) = read(path, energy="U0")
    assert atoms.energy == -2 * KCAL


def test_rows_and_comment_lines_may_state_units_of_their_own(tmp_path):
    path = tmp_path / "a.json"
    with ase.db.connect(path) as database:  # type: ignore[attr-defined]
        for unit in ("kcal/mol", "eV"):
            atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
            database.write(atoms, key_value_pairs={"energy_unit": unit}, data={"energy": -2.0})
    assert [atoms.energy for atoms in read(path)] == [-2 * KCAL, -2]
    xyz = tmp_path / "a.xyz"
    xyz.write_text("1\nenergy=-2 energy_units=kcal/mol\nH 0 0 0\n")
    assert read(xyz)[0].energy == -2 * KCAL


def test_a_unit_of_something_unknown_is_told(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\nenergy=-2 enrg_unit=kcal/mol time_unit=fs\nH 0 0 0\n")
    (atoms,) = read(path)
    assert atoms.energy == -2
    (remark,) = atoms.remarks
    assert "states that enrg is in kcal/mol, and has nothing of this name" in remark


def test_numbers_under_names_like_unit_cell_state_nothing():
    assert not stated_in({"unit_cell": np.eye(3), "n_units": 3, "energy": "eV"}).keys
