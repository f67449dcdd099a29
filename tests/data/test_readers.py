"""Every format gives the same structures; faulty files are named."""

import sqlite3
from contextlib import closing
from typing import Any

import ase.db
import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tests.builders import EXAMPLE

NUMBERS = np.array([8, 1, 1])
RNG = np.random.default_rng(0)
POSITIONS = RNG.normal(size=(4, 3, 3))
ENERGIES = RNG.normal(size=4)
FORCES = RNG.normal(size=(4, 3, 3))


def frames():
    result = []
    for positions, energy, forces in zip(POSITIONS, ENERGIES, FORCES, strict=True):
        atoms = Atoms(NUMBERS, positions)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        result.append(atoms)
    return result


def check(structures, atol=1e-12):
    assert len(structures) == 4
    for index, atoms in enumerate(structures):
        np.testing.assert_array_equal(atoms.numbers, NUMBERS)
        np.testing.assert_allclose(atoms.atoms.positions, POSITIONS[index], atol=atol)
        np.testing.assert_allclose(atoms.energy, ENERGIES[index], atol=atol)
        np.testing.assert_allclose(atoms.labels.of("forces"), FORCES[index], atol=atol)
        assert atoms.atoms.calc is None


def test_extended_xyz(tmp_path):
    path = tmp_path / "a.xyz"
    ase.io.write(path, frames())
    structures = read_labelled(path)
    check(structures, atol=1e-7)
    assert structures[2].source == f"{path}:2"


def test_trajectory_file_through_ase(tmp_path):
    ase.io.write(tmp_path / "a.traj", frames())
    check(read_labelled(str(tmp_path / "a.traj")))


def test_database_takes_labels_from_results_key_values_and_data(tmp_path):
    path = tmp_path / "a.db"
    database: Any = ase.db.connect(path)
    with database:
        for index, atoms in enumerate(frames()):
            if index == 1:
                atoms.calc = None
                data = {"forces": FORCES[1], "notes": {"a": 1}}
                database.write(atoms, dft_energy=ENERGIES[1], config_type="cold", data=data)
            else:
                database.write(atoms)
    structures = read_labelled(path)
    check(structures)
    assert structures[1].config_type == "cold"
    assert structures[1].source == f"{path}:id=2"


def test_database_with_schnetpack_style_arrays(tmp_path):
    path = tmp_path / "a.db"
    database: Any = ase.db.connect(path)
    with database:
        for index, atoms in enumerate(frames()):
            atoms.calc = None
            data = {"U": ENERGIES[index : index + 1], "f": FORCES[index]}
            database.write(atoms, data=data)
    check(read_labelled(path, LabelConfig(energy="U", forces="f")))


def test_a_database_of_another_kind_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"not an ASE database; it has tables \['mine'\]"):
        read_labelled(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    "names",
    [("z", "R", "E", "F"), ("nuclear_charges", "coords", "energies", "forces")],
)
def test_npz_with_both_sets_of_names(tmp_path, names, column):
    energies = ENERGIES[:, None] if column else ENERGIES
    arrays: dict[str, Any] = dict(
        zip(names, (NUMBERS, POSITIONS, energies, FORCES), strict=True), name=np.array("water")
    )
    np.savez(tmp_path / "a.npz", **arrays)
    check(read_labelled(tmp_path / "a.npz"))


def test_npz_padded_with_zero_numbers(tmp_path):
    numbers = np.array([[8, 1, 1], [8, 1, 0]])
    path = tmp_path / "a.npz"
    np.savez(path, z=numbers, R=POSITIONS[:2], E=ENERGIES[:2], F=FORCES[:2])
    second = read_labelled(path)[1]
    np.testing.assert_array_equal(second.numbers, [8, 1])
    np.testing.assert_array_equal(second.labels.of("forces"), FORCES[1, :2])


def test_pickled_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, z=NUMBERS, R=POSITIONS, E=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"a.npz: cannot be read without unpickling"):
        read_labelled(path)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".pt"])
def test_formats_that_run_code_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ValueError, match="can run code"):
        read_labelled(path)


def test_flat_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.update({"z": NUMBERS, "R": POSITIONS, "E": ENERGIES, "F": FORCES})
    check(read_labelled(tmp_path / "a.h5"))


def test_hdf5_groups_as_spice_writes_them_negate_the_gradient(tmp_path):
    hartree, bohr = 27.211386024367243, 0.5291772105638411
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for name, part in (("one", slice(0, 2)), ("two", slice(2, 4))):
            group = file.create_group(name)
            group["atomic_numbers"] = NUMBERS.astype(np.int16)
            columns = {
                "conformations": (POSITIONS[part] / bohr, "bohr"),
                "dft_total_energy": (ENERGIES[part] / hartree, "hartree"),
                "dft_total_gradient": (-FORCES[part] / hartree * bohr, "hartree/bohr"),
            }
            for key, (value, unit) in columns.items():
                group[key] = value
                group[key].attrs["units"] = unit
            group["subset"] = [b"SPICE"]
    units = {"energy": "Hartree", "length": "Bohr"}
    structures = read_labelled(path, LabelConfig.model_validate({"units": units}))
    check(structures)
    assert structures[3].source == f"{path}:two:1"
    check(read_labelled(path))
    wrong = LabelConfig.model_validate({"units": {"length": "Å"}})
    with pytest.raises(ValueError, match=r"the file says bohr.*set labels.units.length to bohr"):
        read_labelled(path, wrong)


def test_hdf5_with_symbols_as_ani_writes_them(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("gdb/water")
        group["species"] = [b"O", b"H", b"H"]
        group.update({"coordinates": POSITIONS, "energies": ENERGIES, "forces": FORCES})
    check(read_labelled(tmp_path / "a.h5"))


def test_hdf5_links_in_circles_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("inner")["back"] = h5py.SoftLink("/")
        file.create_group("water").update({"z": NUMBERS, "R": POSITIONS, "E": ENERGIES})
    assert len(read_labelled(tmp_path / "a.h5")) == 4


def test_rows_that_do_not_match_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", z=NUMBERS, R=POSITIONS, E=ENERGIES[:3])
    with pytest.raises(ValueError, match="E has 3 rows for 4 structures"):
        read_labelled(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", z=NUMBERS[:2], R=POSITIONS)
    with pytest.raises(ValueError, match="do not fit atomic numbers"):
        read_labelled(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=NUMBERS)
    with pytest.raises(ValueError, match="needs one of"):
        read_labelled(tmp_path / "c.npz")


def test_glob_patterns_and_lists_keep_order(tmp_path, monkeypatch):
    for name in ("b", "a"):
        ase.io.write(tmp_path / f"{name}.xyz", frames())
    monkeypatch.chdir(tmp_path)
    sources = [atoms.source for atoms in read_labelled("*.xyz")]
    assert sources[::4] == ["a.xyz:0", "b.xyz:0"]
    assert len(read_labelled(["b.xyz", "a.xyz"])) == 8
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert read_labelled("../a*.xyz")[0].source == "../a.xyz:0"
    with pytest.raises(ValueError, match="more than once"):
        read_labelled(["../a.xyz", "../*.xyz"])


def test_missing_empty_broken_files_and_directories_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.xyz: no such file"):
        read_labelled(tmp_path / "nothing.xyz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_labelled(tmp_path / "*.db")
    assert not (tmp_path / "nothing.db").exists()
    empty, broken = tmp_path / "empty.xyz", tmp_path / "broken.xyz"
    empty.touch()
    with pytest.raises(ValueError, match=r"empty.xyz: the file is empty"):
        read_labelled(empty)
    broken.write_text("3\n\nH 0 0 0\n")
    with pytest.raises(ValueError, match=r"broken.xyz: cannot be read"):
        read_labelled(broken)
    with pytest.raises(ValueError, match="is a directory"):
        read_labelled(tmp_path)
    for name in ("a.npz", "a.h5", "a.db"):
        (tmp_path / name).write_bytes(b"not what it says")
        with pytest.raises(ValueError, match=f"{name}: cannot be read"):
            read_labelled(tmp_path / name)


def write_xyz(path, comment, row="H 0 0 0"):
    path.write_text(f"1\nProperties=species:S:1:pos:R:3 {comment}\n{row}\n")
    return path


def test_bad_positions_name_file_and_frame(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", "energy=1", "H 0 nan 0")
    with pytest.raises(ValueError, match=r"a.xyz:0: positions"):
        read_labelled(path)


def test_repeated_key_in_a_comment_line_is_an_error(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", 'energy=1 note="energy=3 energy=4" energy=2')
    with pytest.raises(ValueError, match="repeated keys energy"):
        read_labelled(path)


def test_voigt_stress_in_extended_xyz(tmp_path):
    comment = 'Lattice="3 0 0 0 3 0 0 0 3" stress="1 2 3 0.4 0.5 0.6"'
    stress = read_labelled(write_xyz(tmp_path / "a.xyz", comment))[0].labels.of("stress")
    np.testing.assert_array_equal(stress, [[1, 0.6, 0.5], [0.6, 2, 0.4], [0.5, 0.4, 3]])


def test_configured_key_that_no_structure_has_is_an_error_naming_those_present(tmp_path):
    path = write_xyz(tmp_path / "a.xyz", "U=1 config_type=hot")
    with pytest.raises(ValueError, match=r"labels.energy is 'V'.*U, config_type"):
        read_labelled(path, LabelConfig(energy="V"))
    assert read_labelled(path, LabelConfig(energy="U"))[0].energy == 1.0
    relaxed = read_labelled(path, LabelConfig(energy="V"), require_configured=False)
    assert np.isnan(relaxed[0].energy)


def test_key_may_be_missing_from_some_structures(tmp_path):
    paths = [
        write_xyz(tmp_path / "a.xyz", "U=1"),
        write_xyz(tmp_path / "b.xyz", "other=1"),
    ]
    found = [a.energy for a in read_labelled(paths, LabelConfig(energy="U"))]
    assert found[0] == 1.0
    assert np.isnan(found[1])


def test_constrained_forces_survive_extended_xyz(tmp_path):
    atoms = frames()[0]
    atoms.set_constraint(FixAtoms([0]))
    path = tmp_path / "a.xyz"
    ase.io.write(path, atoms, columns=["symbols", "positions", "move_mask"])
    text = path.read_text().splitlines()
    text[1] = text[1].replace(":move_mask:L:1", ":move_mask:L:1:forces:R:3")
    text[2:] = [f"{row} 1.0 2.0 3.0" for row in text[2:]]
    path.write_text("\n".join(text) + "\n")
    (result,) = read_labelled(path)
    assert len(result.atoms.constraints) == 1
    np.testing.assert_array_equal(result.labels.of("forces"), np.tile([1.0, 2.0, 3.0], (3, 1)))


def test_mulliken_charges_are_not_total_charge_in_real_data():
    structures = read_labelled(EXAMPLE / "test.xyz")
    assert len(structures) == 500
    assert {atoms.state.charge for atoms in structures} == {0.0}
    found = structures[0].labels
    assert found["energy"] == -309.644985716503
    assert np.isfinite(found["dipole"]).all()
    assert np.isfinite(found["forces"]).all()


def test_real_data_charges(small_reference):
    silver = read_labelled(small_reference("ag3.xyz"))
    assert {atoms.state.charge for atoms in silver} == {-1.0, 1.0}


def test_real_data_stress(shared_data):
    silicon = read_labelled(shared_data("mlearn/Si_test.xyz"))
    assert silicon[0].config_type == "Vacancy"
    stress = silicon[0].labels.of("stress")
    assert stress[0, 1] == 0.0019715046699550496
    assert stress[0, 2] == 0.004898950077102511
    np.testing.assert_array_equal(stress, stress.T)
