"""Packed files give back what was packed, and say so when they cannot."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.electronic_state import ElectronicState
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.labels.weights import Weights
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.sources.packed_file import PackedFile
from tensornet_jax.data.sources.packing import Numbers, packing
from tests.data.sources.many import many


def unlike() -> list[LabelledStructure]:
    """Return structures that differ in everything that a packed file keeps."""
    rng = np.random.default_rng(1)
    water = Atoms("OHH", rng.normal(size=(3, 3)), info={"config_type": "water", "head": "pbe"})
    water.set_initial_charges([-0.8, 0.4, 0.4])
    crystal = Atoms("Si2", rng.normal(size=(2, 3)), cell=5 * np.eye(3) + 0.1, pbc=(1, 1, 0))
    forces = np.where(rng.random((2, 3)) < 0.5, np.nan, rng.normal(size=(2, 3)))
    first = {"energy": -3.0, "forces": rng.normal(size=(3, 3)), "shielding": rng.normal(size=3)}
    second = {"forces": forces, "stress": np.eye(3) * 0.1, "polarizability": np.eye(3)}
    return [
        LabelledStructure(
            water,
            Labels(3, first, frozenset({"shielding"})),
            ElectronicState(-1.0, 2),
            Weights(0.5, {"energy": 2.0}),
            -3.5,
            "a.xyz:0",
            {"energy": "E", "charge": "q"},
        ),
        LabelledStructure(crystal, Labels(2, second), source="b.h5:group:17"),
        LabelledStructure(Atoms("H"), Labels(1), source="a.xyz:1"),
    ]


def packed(path, structures, dtype: Numbers = "float64"):
    with packing(path, dtype) as packer:
        for each in structures:
            packer.add(each)
    return PackedFile(path)


def check_same(one: LabelledStructure, other: LabelledStructure) -> None:
    assert one.atoms == other.atoms
    np.testing.assert_array_equal(
        one.atoms.get_initial_charges(), other.atoms.get_initial_charges()
    )
    assert (one.config_type, one.head) == (other.config_type, other.head)
    assert list(one.labels) == list(other.labels)
    assert one.labels.of_atoms == other.labels.of_atoms
    for name, label in one.labels.items():
        np.testing.assert_array_equal(label, other.labels[name])
    assert (one.state, one.weights, one.source) == (other.state, other.weights, other.source)
    np.testing.assert_array_equal(one.free_energy, other.free_energy)
    assert dict(one.keys) == dict(other.keys)


def test_structures_come_back_bit_for_bit(tmp_path):
    given = [*unlike(), *many(20)]
    file = packed(tmp_path / "a.packed", given)
    assert len(file) == 23
    for one, other in zip(given, file, strict=True):
        check_same(one, other)
    check_same(given[-1], file[-1])
    assert [file.source(k) for k in range(3)] == ["a.xyz:0", "b.h5:group:17", "a.xyz:1"]
    assert list(file.verify())
    with pytest.raises(IndexError):
        file[23]


def test_a_packed_file_is_a_safetensors_file(tmp_path):
    from safetensors.numpy import load_file

    packed(tmp_path / "a.packed", many(3))
    arrays = load_file(tmp_path / "a.packed")
    assert len(arrays["offsets"]) == 4


def test_readers_take_packed_files_without_options(tmp_path):
    given = unlike()[:2]
    path = tmp_path / "a.packed"
    packed(path, given)
    found = read_labelled(path)
    assert [each.source for each in found] == [f"{path}:a.xyz:0", f"{path}:b.h5:group:17"]
    for one, other in zip(given, found, strict=True):
        assert set(one.labels) == set(other.labels)
        assert (one.state, one.weights) == (other.state, other.weights)


def test_single_precision_halves_the_file_and_keeps_energies(tmp_path):
    given = many(50)
    double = packed(tmp_path / "double.packed", given)
    single = packed(tmp_path / "single.packed", given, "float32")
    assert single.path.stat().st_size < 0.75 * double.path.stat().st_size
    for one, other in zip(given, single, strict=True):
        assert one.energy == other.energy
        np.testing.assert_allclose(one.labels["forces"], other.labels["forces"], rtol=1e-6)


def test_copies_for_other_processes_open_the_file_again(tmp_path):
    file = packed(tmp_path / "a.packed", many(4))
    check_same(pickle.loads(pickle.dumps(file))[2], file[2])


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_files_that_are_cut_off_are_refused(tmp_path, part):
    path = tmp_path / "a.packed"
    packed(path, many(30))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"a.packed: is (cut off|no packed file)"):
        PackedFile(path)


def test_one_flipped_bit_is_found_when_its_structure_is_read(tmp_path):
    path = tmp_path / "a.packed"
    packed(path, many(30))
    content = bytearray(path.read_bytes())
    content[3000] ^= 4
    path.write_bytes(content)
    file = PackedFile(path)
    with pytest.raises(ValueError, match=r"a.packed: is damaged, structure \d+ .*checksum"):
        list(file)
    with pytest.raises(ValueError, match=r"a.packed: is damaged, its checksum"):
        list(file.verify())


def test_another_version_is_named(tmp_path):
    path = tmp_path / "a.packed"
    packed(path, many(2))
    content = path.read_bytes().replace(
        b'tensornet_jax.packed": "1"', b'tensornet_jax.packed": "7"'
    )
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"version 7, and this version .* reads version 1"):
        PackedFile(path)


def test_an_error_leaves_the_older_file(tmp_path):
    path = tmp_path / "a.packed"
    packed(path, many(5))
    tensor = Labels(2, {"quadrupole": np.eye(3)})
    wrong = replace(many(1)[0], labels=tensor)
    other = replace(many(1)[0], labels=Labels(2, {"quadrupole": np.ones(3)}))
    with pytest.raises(ValueError, match=r"many.xyz:0: quadrupole .* one shape only"):
        packed(path, [wrong, other])
    assert len(PackedFile(path)) == 5
    assert [each.name for each in tmp_path.iterdir()] == ["a.packed"]


def test_ten_thousand_structures_are_packed_and_read_in_seconds(tmp_path):
    few = many(100)
    file = packed(tmp_path / "a.packed", (few[k % 100] for k in range(10_000)))
    order = np.random.default_rng(0).permutation(len(file))[:500]
    for k in order:
        check_same(file[int(k)], few[k % 100])
