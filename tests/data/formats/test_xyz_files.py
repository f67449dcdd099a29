"""No frame of an xyz file is lost, and no number in one is taken in a unit it is not in."""

import bz2
import gzip
import lzma

import numpy as np
import pytest

from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.units import conversion_factor

HARTREE = conversion_factor("Hartree", "energy")
BOHR = conversion_factor("Bohr", "length")
ROWS = "H 0 0 0\nH 0 0 0.74\n"


def frame(energy, rows=ROWS, count=2):
    return f"{count}\nProperties=species:S:1:pos:R:3 energy={energy}\n{rows}"


def energies(path, **config):
    structures = read_labelled(path, LabelConfig.model_validate(config))
    return [atoms.energy for atoms in structures]


def write(tmp_path, text, name="a.xyz"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("between", ["", "\n", "\n\n\n", "   \n\t\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n  \n\n"])
def test_blank_lines_between_frames_drop_none(tmp_path, between, end):
    text = between.join(frame(energy) for energy in (-1, -2, -3)) + end
    assert energies(write(tmp_path, text)) == [-1, -2, -3]


def test_a_last_line_without_its_end_and_carriage_returns_are_read(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_bytes((frame(-1) + frame(-2)).replace("\n", "\r\n").rstrip().encode())
    assert energies(path) == [-1, -2]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_files_in_other_encodings_are_read(tmp_path, encoding):
    path = tmp_path / "a.xyz"
    path.write_bytes(frame("-1 note=Å").encode(encoding))
    assert energies(path) == [-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (frame(-1, ROWS + "H 1 1 1\n") + frame(-2), r"line 5: 'H 1 1 1' stands where the number"),
        (frame(-1) + "the end\n" + frame(-2), r"line 5: 'the end' stands where"),
        (
            frame(-1) + frame(-2, "H 0 0 0\n"),
            r"frame 1 from line 5 has 1 of 2 atoms, then the",
        ),
        (frame(-1, "H 0 0 0\n\nH 0 0 1\n"), r"frame 0 from line 1 has 1 of 2 .* line 4 is blank"),
        (frame(-1, "H 0 0 0\n") + frame(-2), r"a.xyz:0: .*line 4 has 1 columns, not 4"),
        (frame(-1, "H 0 0 0 1\nH 0 0 1\n"), r"a.xyz:0: .*line 3 has 5 columns, not 4"),
        (frame(-1, "H 0 0 0\nH 0 0 ****\n"), r"'\*\*\*\*' in line 4 is not a number, which pos"),
        ("two\nx\n" + ROWS, r"line 1: 'two' stands where the number of atoms of frame 0"),
    ],
)
def test_what_does_not_fit_its_frame_is_an_error_that_names_the_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_labelled(write(tmp_path, text))


@pytest.mark.parametrize(
    ("suffix", "opener"), [(".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)]
)
def test_compressed_files_pass_the_same_checks(tmp_path, suffix, opener):
    path = tmp_path / f"a.xyz{suffix}"
    with opener(path, "wt") as stream:
        stream.write(frame(-1) + "\n" + frame(-2))
    assert energies(path) == [-1, -2]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"a.xyz{suffix}: cannot be decompressed"):
        read_labelled(path)
    path.write_bytes(b"no such compression")
    with pytest.raises(ValueError, match=f"a.xyz{suffix}: cannot be decompressed"):
        read_labelled(path)
    with opener(path, "wt") as stream:
        stream.write(frame("-1 energy=-2"))
    with pytest.raises(ValueError, match="repeated keys energy"):
        read_labelled(path)


def test_archives_and_compressed_formats_that_cannot_be_read_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"a.zip: .zip files are not read: unpack it"):
        read_labelled(write(tmp_path, "x", "a.zip"))
    with pytest.raises(ValueError, match=r"a.npz.gz: .npz files are read uncompressed only"):
        read_labelled(write(tmp_path, "x", "a.npz.gz"))
    with pytest.raises(ValueError, match="can run code"):
        read_labelled(write(tmp_path, "x", "a.pkl.gz"))


def test_an_xyz_file_of_another_name_passes_the_same_checks(tmp_path):
    assert energies(write(tmp_path, frame(-1) + "\n" + frame(-2), "train.txt")) == [-1, -2]


@pytest.mark.parametrize(
    "comment",
    [
        " i =        0, time =        0.000, E =       -17.2200000000",
        " i = 3, E = -17.22",
        " energy: -17.22 gnorm: 0.000012 xtb: 6.6.1 (8d0f1dd)",
        "Coordinates from ORCA-job water_opt E -17.22",
        "ORCA AIMD Position Step 0, t=0.00 fs, E_Pot=-17.22 Hartree, Unit is Angstrom",
        "Iteration 12 Energy -17.22",
    ],
)
def test_energies_in_comment_lines_of_codes_are_in_hartree(tmp_path, comment):
    path = write(tmp_path, f"2\n{comment}\n{ROWS}")
    assert energies(path) == [pytest.approx(-17.22 * HARTREE, rel=1e-14)]
    assert energies(path, units={"energy": "Ha"}) == energies(path)
    (atoms,) = read_labelled(path)
    np.testing.assert_array_equal(atoms.atoms.positions[1], [0, 0, 0.74])
    assert "energy Hartree" in atoms.remarks[0]
    with pytest.raises(ValueError, match=r"the file says Hartree of .*the configuration eV"):
        energies(path, units={"energy": "eV"})


@pytest.mark.parametrize("unit", ["Hartree", "(a.u.)", "[Eh],", "hartree note=x"])
def test_a_unit_after_a_number_is_the_unit_of_its_key(tmp_path, unit):
    path = write(tmp_path, f"2\nname=water energy= -17.22 {unit}\n{ROWS}")
    assert energies(path) == [pytest.approx(-17.22 * HARTREE, rel=1e-14)]
    assert energies(write(tmp_path, f"2\nenergy=-17.22 Eh=3 hot D\n{ROWS}")) == [-17.22]


@pytest.mark.parametrize("key", ["lattice", "LATTICE", "cell", "unit_cell", "Box"])
def test_a_cell_under_another_name_is_a_cell(tmp_path, key):
    text = '2\nProperties=species:S:1:pos:R:3 {}="5 0 0 1 6 0 0 0 7" {}\n' + ROWS
    (atoms,) = read_labelled(write(tmp_path, text.format(key, "")))
    np.testing.assert_array_equal(atoms.atoms.cell.array, [[5, 0, 0], [1, 6, 0], [0, 0, 7]])
    assert atoms.atoms.pbc.all()
    (atoms,) = read_labelled(write(tmp_path, text.format(key, 'PBC="T T F"')))
    assert atoms.atoms.pbc.tolist() == [True, True, False]
    text = f'2\n{key}="5 6 7"\n{ROWS}'
    (atoms,) = read_labelled(write(tmp_path, text))
    np.testing.assert_array_equal(atoms.atoms.cell.lengths(), [5, 6, 7])
    with pytest.raises(ValueError, match=f"a.xyz:0: .*line 2: {key} is not a cell"):
        read_labelled(write(tmp_path, f'2\n{key}="5 6"\n{ROWS}'))


def test_numbers_in_other_comment_lines_are_not_taken_and_told(tmp_path):
    (atoms,) = read_labelled(write(tmp_path, f"2\n      -17.2200000\n{ROWS}"))
    assert np.isnan(atoms.energy)
    assert "not read" in atoms.remarks[0]
    assert not read_labelled(write(tmp_path, f"2\n\n{ROWS}"))[0].remarks
    assert not read_labelled(write(tmp_path, f"2\nwater 3\n{ROWS}"))[0].remarks


def test_positions_of_ipi_are_in_the_unit_that_it_writes(tmp_path):
    line = "# CELL(abcABC): 10.0 11.0 12.0 90.0 90.0 80.0 Step: 0 Bead: 0 {} cell{{angstrom}}"
    text = f"2\n{line.format('positions{atomic_unit}')}\n{ROWS}"
    (atoms,) = read_labelled(write(tmp_path, text))
    np.testing.assert_allclose(atoms.atoms.positions[1, 2], 0.74 * BOHR)
    np.testing.assert_allclose(atoms.atoms.cell.cellpar(), [10, 11, 12, 90, 90, 80])
    assert atoms.atoms.pbc.all()
    with pytest.raises(ValueError, match="does not say that positions stand below it"):
        read_labelled(write(tmp_path, f"2\n{line.format('forces{atomic_unit}')}\n{ROWS}"))


def test_files_of_forces_or_velocities_are_not_taken_for_positions(tmp_path):
    with pytest.raises(ValueError, match="CP2K writes forces into such files"):
        read_labelled(write(tmp_path, f"2\n i = 0, E = -1\n{ROWS}", "w-frc-1.xyz"))


def test_columns_that_no_name_is_given_for_are_told(tmp_path):
    text = f"2\nenergy=-1\n{ROWS.replace(chr(10), ' 0.1 0.2 0.3' + chr(10))}"
    (atoms,) = read_labelled(write(tmp_path, text))
    assert "columns after the fourth are not read (3)" in atoms.remarks[0]


@pytest.mark.parametrize(
    ("species", "number"),
    [("1", 1), ("D", 1), ("T", 1), ("d", 1), ("h", 1), ("CL", 17), ("26", 26)],
)
def test_elements_are_read_as_people_write_them(tmp_path, species, number):
    (atoms,) = read_labelled(write(tmp_path, frame(-1, f"O 0 0 0\n{species} 0 0 1\n")))
    assert atoms.numbers.tolist() == [8, number]


def test_deuterium_and_tritium_keep_their_masses(tmp_path):
    (atoms,) = read_labelled(write(tmp_path, frame(-1, "D 0 0 0\nT 0 0 1\nO 0 1 0\n", 3)))
    np.testing.assert_allclose(atoms.atoms.get_masses(), [2.014, 3.016, 15.999], atol=1e-3)


@pytest.mark.parametrize(
    ("species", "message"),
    [
        ("H1", "'H1' is not the symbol of an element: write H if"),
        ("Fe2+", r"write Fe, and the total charge of the structure as charge="),
        ("Uu", "'Uu' is not the symbol of an element: write the symbol of its element, e.g. U"),
        ("X", "ghost and dummy atoms must be removed"),
        ("0", "0 is not an atomic number: they go from 1 to 118"),
        ("119", "119 is not an atomic number"),
    ],
)
def test_what_is_no_element_is_an_error_with_line_and_remedy(tmp_path, species, message):
    path = write(tmp_path, frame(-1) + frame(-2, f"O 0 0 0\n{species} 0 0 1\n"))
    with pytest.raises(ValueError, match=f"a.xyz:1: .*line 8: .*{message}"):
        read_labelled(path)


def test_atomic_numbers_in_columns_of_their_own_are_checked_too(tmp_path):
    text = "2\nProperties=Z:I:1:pos:R:3\n1 0 0 0\n{} 0 0 1\n"
    (atoms,) = read_labelled(write(tmp_path, text.format(8)))
    assert atoms.numbers.tolist() == [1, 8]
    for number in (200, -3):
        with pytest.raises(ValueError, match=f"a.xyz:0: {number} is not an atomic number"):
            read_labelled(write(tmp_path, text.format(number)))


def test_types_of_lammps_are_not_elements(tmp_path):
    text = "2\nAtoms. Timestep: 0\n1 0 0 0\n2 0 0 1\n"
    with pytest.raises(ValueError, match="one of LAMMPS's atom types, not an element"):
        read_labelled(write(tmp_path, text))
    dump = (
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
        "ITEM: ATOMS id {} x y z fx fy fz\n1 {} 0 0 0 1 2 3\n"
    )
    with pytest.raises(ValueError, match="names atom types, not elements"):
        read_labelled(write(tmp_path, dump.format("type", 1), "a.lammpstrj"))
    (atoms,) = read_labelled(write(tmp_path, dump.format("element", "Cu"), "b.lammpstrj"))
    assert atoms.atoms.get_chemical_symbols() == ["Cu"]
    np.testing.assert_array_equal(atoms.labels.of("forces"), [[1, 2, 3]])
    assert np.isnan(atoms.energy)


def test_cell_vectors_after_the_atoms_are_read(tmp_path):
    vectors = "VEC1 5 0 0\nVEC2 0 6 0\n"
    two = read_labelled(write(tmp_path, f"2\nx\n{ROWS}{vectors}" * 2))
    assert len(two) == 2
    np.testing.assert_array_equal(two[1].atoms.cell.lengths(), [5, 6, 0])
    assert two[0].atoms.pbc.tolist() == [True, True, False]
