"""Databases and HDF5 read by index give what reading them whole gives, or a clear error."""

import sqlite3
import threading
from typing import Any

import ase.db
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.sources.rows import FileRows
from tests.data.sources.test_packed_file import check_same


def database(path, count=6):
    rng = np.random.default_rng(0)
    connected: Any = ase.db.connect(path)
    with connected:
        for _ in range(count):
            atoms = Atoms("OHH", rng.normal(size=(3, 3)) + np.arange(3)[:, None])
            energy, forces = rng.normal(), rng.normal(size=(3, 3))
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            connected.write(atoms, data={"charge": 1})
        # Within the context too, or ASE opens a connection that it does not close.
        if path.suffix == ".db":
            connected.delete([2])
    return path


def hdf5(path):
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, atoms in (("water", [8, 1, 1]), ("pair", [6, 6])):
            group = file.create_group(name)
            group["atomic_numbers"] = atoms
            group["conformations"] = rng.normal(size=(3, len(atoms), 3))
            group["conformations"].attrs["units"] = "bohr"
            group["dft_total_energy"] = rng.normal(size=3)
            group["dft_total_gradient"] = rng.normal(size=(3, len(atoms), 3))
            group["cell"] = 9.0 * np.broadcast_to(np.eye(3), (3, 3, 3))
            group["smiles"] = [b"O" if name == "water" else b"C=C"]
    return path


def make(path):
    if path.suffix == ".aselmdb":
        pytest.importorskip("ase_db_backends")
    return hdf5(path) if path.suffix == ".h5" else database(path)


@pytest.fixture(params=["a.db", "a.aselmdb", "a.h5"])
def path(request, tmp_path):
    return make(tmp_path / request.param)


def test_rows_are_those_of_the_whole_file(path):
    whole, rows = read_labelled(path), FileRows(path, LabelConfig())
    assert len(rows) == len(whole)
    for index in reversed(range(len(rows))):
        check_same(rows[index], whole[index])
        assert rows.source(index) == whole[index].source


def test_several_threads_may_read(path):
    rows = FileRows(path, LabelConfig())
    energies = [each.energy for each in rows]
    found: dict[int, list[float]] = {}

    def read(thread: int) -> None:
        found[thread] = [rows[k].energy for k in range(len(rows)) for _ in range(5)]

    threads = [threading.Thread(target=read, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [energy for energy in energies for _ in range(5)]
    assert list(found.values()) == [expected] * 3


@pytest.mark.parametrize("part", [0.3, 0.7])
def test_files_that_are_cut_off_are_errors_that_name_them(path, part):
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=rf"{path.name}:? ?.*cannot be read"):
        list(FileRows(path, LabelConfig()))


def test_a_database_that_ase_is_writing_to_is_locked(tmp_path):
    path = make(tmp_path / "a.aselmdb")
    lock = tmp_path / "a.aselmdb.lock"
    lock.touch()
    with pytest.raises(ValueError, match=r"a.aselmdb: is locked by another process"):
        FileRows(path, LabelConfig())


def test_a_database_in_a_transaction_is_locked(tmp_path, monkeypatch):
    path = make(tmp_path / "a.db")
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **kw: connect(*args, **kw | {"timeout": 0})
    )
    writer = connect(path)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ValueError, match=r"a.db: is locked by another process"):
            FileRows(path, LabelConfig())
    finally:
        writer.close()


def test_labels_with_too_few_rows_are_an_error(tmp_path):
    path = make(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["water/dft_total_energy"]
        file["water/dft_total_energy"] = np.zeros(2)
    with pytest.raises(ValueError, match="dft_total_energy has 2 rows for 3 structures"):
        FileRows(path, LabelConfig())
