"""Files of structures that grow: whatever happened while one was written, the others are there."""

import errno
from typing import Any

import ase.build
import ase.db
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from tensornet_jax.data.formats.structure_file import structure_file

GROWING = (".xyz", ".extxyz", ".traj", ".db")


def numbered(index, name="H2O"):
    atoms = ase.build.molecule(name)
    atoms.rattle(0.1, seed=index)
    atoms.info |= {"input_index": index, "converged": index != 1, "note": f"number {index}"}
    atoms.info["predicted_polarizability"] = np.arange(9.0)
    atoms.set_array("predicted_shielding", np.arange(9.0 * len(atoms)).reshape(-1, 9))
    forces = np.full((len(atoms), 3), 0.5)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0 - index, forces=forces)
    return atoms


@pytest.fixture(params=GROWING)
def path(request, tmp_path):
    """Return a file of three structures of different sizes."""
    path = tmp_path / f"out{request.param}"
    file = structure_file(path)
    for index, name in enumerate(("H2O", "CH4", "H2O")):
        file.append(numbered(index, name))
    file.close()
    return path


def test_structures_are_in_the_file_before_it_is_closed(tmp_path):
    for suffix in GROWING:
        file = structure_file(tmp_path / f"open{suffix}")
        for index in range(2):
            file.append(numbered(index))
            assert len(ase.io.read(tmp_path / f"open{suffix}", ":")) == index + 1
        file.close()


def test_results_info_and_arrays_come_back(path):
    frames = ase.io.read(path, ":")
    assert isinstance(frames, list)
    for index, atoms in enumerate(frames):
        before = numbered(index, "CH4" if index == 1 else "H2O")
        np.testing.assert_allclose(atoms.positions, before.positions, atol=1e-7)
        assert atoms.get_potential_energy() == pytest.approx(-1.0 - index)
        np.testing.assert_allclose(atoms.get_forces(), 0.5)
    if path.suffix != ".db":
        last = frames[-1]
        assert last.info["note"] == "number 2"
        shielding = {**last.info, **last.arrays}["predicted_shielding"]
        np.testing.assert_allclose(shielding, np.arange(27.0).reshape(3, 9))
        np.testing.assert_allclose(last.info["predicted_polarizability"], np.arange(9.0))


def test_what_a_database_cannot_name_is_among_its_data(tmp_path):
    path = tmp_path / "out.db"
    atoms = numbered(0)
    atoms.info |= {"a key": 3, "energy": 1.0, "H2O": "12"}
    structure_file(path).append(atoms)
    with ase.db.connect(path) as database:  # type: ignore[attr-defined]
        (row,) = database.select()
    assert row.key_value_pairs["input_index"] == 0
    assert (row.data["a key"], row.data["H2O"]) == (3, "12")
    np.testing.assert_allclose(row.data["predicted_shielding"], np.arange(27.0).reshape(3, 9))


def test_a_file_knows_what_it_has_and_goes_on(path):
    file = structure_file(path)
    assert file.kept() == {0: True, 1: False, 2: True}
    file.append(numbered(7))
    file.close()
    assert structure_file(path).kept() == {0: True, 1: False, 2: True, 7: True}
    assert len(ase.io.read(path, ":")) == 4


@pytest.mark.parametrize("suffix", [".xyz", ".traj"])
def test_a_structure_that_was_being_written_is_cut_off_and_the_finished_ones_stay(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    file = structure_file(path)
    for index in range(2):
        file.append(numbered(index))
    file.close()
    whole = path.read_bytes()
    file.append(numbered(2))
    file.close()
    longer = path.read_bytes()
    # A kill leaves any part of what was added. ASE counts frames last, in the file's beginning.
    for size in range(len(whole), len(longer), 37):
        torn = whole + longer[len(whole) : size]
        path.write_bytes(torn)
        again = structure_file(path)
        assert again.kept() == {0: True, 1: False}
        again.append(numbered(5))
        again.close()
        frames: Any = ase.io.read(path, ":")
        assert [atoms.info["input_index"] for atoms in frames] == [0, 1, 5]


@pytest.mark.parametrize("suffix", [".xyz", ".traj"])
def test_a_file_that_was_only_begun_is_begun_again(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    file = structure_file(path)
    file.append(numbered(0))
    file.close()
    beginning = path.read_bytes()
    for size in (0, 1, 20):
        path.write_bytes(beginning[:size])
        file = structure_file(path)
        assert file.kept() == {}
        file.append(numbered(0))
        file.close()
        assert len(ase.io.read(path, ":")) == 1


def test_constraints_differ_from_structure_to_structure(tmp_path):
    for suffix in GROWING:
        path = tmp_path / f"fixed{suffix}"
        file = structure_file(path)
        for index in range(3):
            atoms = numbered(index)
            atoms.set_constraint(FixAtoms([index]))
            file.append(atoms)
        file.close()
        frames: Any = ase.io.read(path, ":")
        fixed = [atoms.constraints[0].index.tolist() for atoms in frames]
        assert fixed == [[0], [1], [2]]


class FullDisk:
    """A file on a disk that has room for ten more bytes."""

    def __init__(self, stream):
        self._stream, self._room = stream, 10
        self.seek, self.truncate = stream.seek, stream.truncate

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()

    def write(self, data):
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written, self._room = self._stream.write(data[: self._room]), 0
        return written


def test_a_full_disk_leaves_no_part_of_a_frame(tmp_path, monkeypatch):
    path = tmp_path / "out.xyz"
    file = structure_file(path)
    file.append(numbered(0))
    before = path.read_bytes()
    opened = type(path).open
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", lambda *a, **k: FullDisk(opened(*a, **k)))
        with pytest.raises(OSError, match="No space left"):
            file.append(numbered(1))
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["out.h5", "out.npz", "out", "out.nonsense"])
def test_unknown_formats_are_refused_with_the_known_ones(name, tmp_path):
    with pytest.raises(ValueError, match=r"\.xyz, \.extxyz, \.traj, \.db"):
        structure_file(tmp_path / name)


def test_formats_without_predictions_are_for_single_geometries(tmp_path):
    with pytest.raises(ValueError, match=r"end it in \.xyz"):
        structure_file(tmp_path / "out.cif", only_growing=True)
    path = tmp_path / "POSCAR"
    crystal = ase.build.bulk("Si", cubic=True)
    structure_file(path).append(crystal)
    assert len(ase.io.read(path)) == 8
    with pytest.raises(ValueError, match="cannot be continued"):
        structure_file(path).kept()


def test_files_of_other_programs_are_not_continued(tmp_path):
    for name in ("a.xyz", "a.traj", "a.db"):
        ase.io.write(tmp_path / name, ase.build.molecule("H2O"))
        with pytest.raises(ValueError, match="another program"):
            structure_file(tmp_path / name).kept()
    (tmp_path / "b.xyz").write_text("not\nxyz\n")
    (tmp_path / "b.traj").write_text("not a trajectory" * 10)
    (tmp_path / "b.db").write_text("not a database" * 10)
    for name, told in (("b.xyz", "no number"), ("b.traj", "cannot be read"), ("b.db", "be read")):
        with pytest.raises(ValueError, match=told):
            structure_file(tmp_path / name).kept()
