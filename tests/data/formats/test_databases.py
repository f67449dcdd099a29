"""ASE databases: what rows keep, and files that cannot be read."""

from typing import Any

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.data.readers import read_labelled

FORCES = np.array([[0, 0, 0.1], [0, 0, -0.1]])


def fill(path, **options):
    database: Any = ase.db.connect(path, **options)
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    with database:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=FORCES)
        database.write(atoms, data={"total_charge": -1, "spin": 2})
        atoms.calc = None
        database.write(atoms, dft_energy=-2.0, data={"forces": FORCES.tolist(), "notes": ["a"]})
    return path


def check(path):
    first, second = read_labelled(path)
    assert (first.energy, second.energy) == (-1, -2)
    for atoms in (first, second):
        np.testing.assert_array_equal(atoms.labels.of("forces"), FORCES)
    assert (first.state.charge, first.state.spin) == (-1, 2)
    assert first.source == f"{path}:id=1"


@pytest.mark.parametrize("suffix", [".db", ".json"])
def test_labels_come_from_results_key_value_pairs_and_data(tmp_path, suffix):
    check(fill(tmp_path / f"a{suffix}"))


def test_lmdb_databases_are_read_whole_or_not_at_all(tmp_path):
    pytest.importorskip("ase_db_backends")
    path = fill(tmp_path / "a.aselmdb")
    check(path)
    content = path.read_bytes()
    for part in (1, 2, 3):
        path.write_bytes(content[: part * len(content) // 4])
        with pytest.raises(ValueError, match=r"a.aselmdb: cannot be read as an ASE database"):
            read_labelled(path)


def test_a_module_that_is_missing_is_named_with_its_package(tmp_path, monkeypatch):
    def connect(*_, **__):
        raise ModuleNotFoundError("No module", name="ase_db_backends")

    monkeypatch.setattr("tensornet_jax.data.formats.databases._check_lmdb", connect)
    path = tmp_path / "a.aselmdb"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a.aselmdb: .* pip install ase-db-backends"):
        read_labelled(path)


@pytest.mark.parametrize("part", [0.3, 0.6])
def test_databases_that_are_cut_off_are_errors_that_name_them(tmp_path, part):
    path = fill(tmp_path / "a.db")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"a.db:? ?.*cannot be read"):
        read_labelled(path)


@pytest.mark.parametrize("name", ["a.cif", "a.traj", "a.vasp", "a.unheard", "OUTCAR", "a.json"])
def test_files_that_ase_cannot_read_are_errors_that_name_them(tmp_path, name):
    path = tmp_path / name
    path.write_text("hello\n")
    with pytest.raises(ValueError, match=f"{name}: cannot be read"):
        read_labelled(path)


def test_an_element_that_ase_does_not_know_is_explained(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text("x\n1.0\n5 0 0\n0 5 0\n0 0 5\nQq\n1\nDirect\n0 0 0\n")
    with pytest.raises(ValueError, match=r"POSCAR: cannot be read"):
        read_labelled(path)
