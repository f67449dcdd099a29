"""Structures are read, divided and described as the data section says."""

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.data.datasets import DataSets, read_data_sets
from tensornet_jax.train.data.parts import DataError
from tests.train.small import clusters


def read(tmp_path: Path, data: dict[str, Any], seed: int = 0) -> tuple[DataSets, list[str]]:
    told: list[str] = []
    config = DataConfig.model_validate(data)
    path = tmp_path / "split.json"
    sets = read_data_sets(config, seed, path, reuse_split=path.exists(), message=told.append)
    return sets, told


def write(path: Path, structures: list) -> str:
    ase.io.write(path, structures, format="extxyz")
    return str(path)


def with_one_gold(num: int = 20) -> list:
    made = clusters(num)
    made[7].numbers[0] = 79
    return made


@pytest.mark.parametrize("seed", range(8))
def test_every_element_is_trained_on_whatever_the_seed(tmp_path, seed):
    data = {"train": write(tmp_path / "a.xyz", with_one_gold()), "validation": 6, "test": {"x": 6}}
    sets, told = read(tmp_path, data, seed)
    assert [len(part) for part in sets.all().values()] == [8, 6, 6]
    assert any(79 in atoms.numbers for atoms in sets.train)
    assert all("Au" in text for text in told)
    again, _ = read(tmp_path, data, seed)
    assert [each.source for each in again.train] == [each.source for each in sets.train]


def test_what_stays_in_training_against_chance_is_told(tmp_path):
    file, told = write(tmp_path / "a.xyz", with_one_gold()), []
    for seed in range(8):
        (tmp_path / "split.json").unlink(missing_ok=True)
        told += read(tmp_path, {"train": file, "validation": 10}, seed)[1]
    assert told
    assert all("data.validation: 1 of the structures drawn stay in" in text for text in told)
    assert all(f"{file}:7" in text and "would have Au" in text for text in told)


def test_more_than_can_be_held_out_is_refused(tmp_path):
    made = clusters(3)
    for atoms, number in zip(made, (9, 17, 35), strict=True):
        atoms.numbers[0] = number
    with pytest.raises(DataError, match=r"data\.validation: 1 of 3 structures cannot be held out"):
        read(tmp_path, {"train": write(tmp_path / "a.xyz", made), "validation": 1})


def test_structures_in_two_sets_are_a_warning_of_the_audit(tmp_path):
    file = write(tmp_path / "a.xyz", clusters(12))
    copy = write(tmp_path / "b.xyz", clusters(12)[4:8])
    sets, _ = read(tmp_path, {"train": file, "validation": file, "test": {"unseen": copy}})
    lines = "\n".join(sets.lines())
    assert "warning: 12 of 12 structures of the validation set are also in the training" in lines
    assert "warning: 4 of 4 structures of the unseen set are also in the training set" in lines


def test_frames_that_a_file_has_twice_are_told_when_a_split_parts_them(tmp_path):
    made = clusters(10)
    file = write(tmp_path / "a.xyz", [atoms for atoms in made for _ in range(2)])
    sets, _ = read(tmp_path, {"train": file, "validation": 6})
    assert any("structures of the validation set are also in the" in t for t in sets.lines())
    (tmp_path / "split.json").unlink()
    sets, _ = read(tmp_path, {"train": write(tmp_path / "a.xyz", made), "validation": 6})
    assert not any("are also in" in text for text in sets.lines())


def test_each_file_is_read_with_its_own_keys_and_units(tmp_path):
    first, second = clusters(9), clusters(6, seed=1)
    for atoms in second:
        atoms.info["E"] = atoms.info.pop("REF_energy") / 27.211386245981
        atoms.arrays["F"] = atoms.arrays.pop("REF_forces") / (27.211386245981 / 0.529177210544)
    own = {"energy": "E", "forces": "F", "units": {"energy": "Hartree", "force": "Hartree/Bohr"}}
    files = [write(tmp_path / "a.xyz", first), write(tmp_path / "b.xyz", second)]
    data = {"train": [files[0], {"file": files[1], "labels": own}], "validation": "none"}
    sets, _ = read(tmp_path, data)
    assert len(sets.train) == 15
    for found, expected in zip(sets.train[9:], clusters(6, seed=1), strict=True):
        np.testing.assert_allclose(found.energy, expected.info["REF_energy"], rtol=1e-6)
        np.testing.assert_allclose(found.labels["forces"], expected.arrays["REF_forces"], atol=1e-5)
    told = "\n".join(sets.lines())
    assert f"{files[0]}: 9 structures; energy from REF_energy" in told
    assert f"{files[1]}: 6 structures; energy from E, forces from F" in told
    assert "read in energy Hartree, force Hartree/Bohr" in told


def test_a_key_must_be_in_the_file_that_it_is_named_for(tmp_path):
    first, second = write(tmp_path / "a.xyz", clusters(4)), write(tmp_path / "b.xyz", clusters(3))
    data = {"train": [first, {"file": second, "labels": {"energy": "E"}}], "validation": "none"}
    with pytest.raises(ValueError, match=r"labels\.energy is 'E', which no structure has"):
        read(tmp_path, data)


def test_a_split_of_an_earlier_version_loads(tmp_path):
    file = write(tmp_path / "a.xyz", clusters(6))
    sets, _ = read(tmp_path, {"train": file, "validation": 2})
    split = (tmp_path / "split.json").read_text()
    again, _ = read(tmp_path, {"train": file, "validation": 2}, seed=99)
    assert (tmp_path / "split.json").read_text() == split
    assert [each.source for each in again.train] == [each.source for each in sets.train]
