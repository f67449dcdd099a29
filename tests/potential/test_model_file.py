"""Model files: bitwise round trips, and a clear error for every kind of damage."""

import json
import os
import pickle
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy
from ase.build import molecule

from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential import model_file
from tensornet_jax.potential.model_file import ModelFileError, load_model, read_header, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.runtime.sealed_file import BLANK_CHECKSUM, checksum

CONFIG = TensorNetConfig.model_validate(
    {"num_channels": 4, "num_layers": 1, "num_radial": 4, "cutoff": 4.0}
)


@pytest.fixture(scope="module")
def potential() -> Potential:
    elements = ElementTable((1, 6, 8), np.array([-13.587222780835477, -1029.1, -2041.8 - 1 / 3]))
    potential = create_potential(
        CONFIG, elements, seed=3, dtype="float64", energy_scale=0.1 + 0.2, energy_offset=-1 / 3
    )
    return potential.replace(metadata={"data": "ethanol", "errors": {"energy": 1e-3}, "Å": "é"})


@pytest.fixture
def path(tmp_path, potential):
    path = tmp_path / "model.safetensors"
    save_model(path, potential)
    return path


def leaves(potential: Potential) -> dict[str, np.ndarray]:
    pairs = jax.tree_util.tree_leaves_with_path(potential.variables)
    return {jax.tree_util.keystr(key): np.asarray(leaf) for key, leaf in pairs}


def rewrite(path, *, header=None, tensors=None, keep_checksum=False):
    """Write a file again with another header or other tensors and, by default, a right checksum."""
    content = path.read_bytes()
    entry = model_file.FORMAT.entry
    entries = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    stated = json.loads(entries[entry])
    sha256 = stated["sha256"]
    stated |= {"sha256": BLANK_CHECKSUM} | (header or {})
    text = json.dumps(stated, ensure_ascii=False)
    tensors = {**safetensors.numpy.load(content), **(tensors or {})}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if not keep_checksum:
        sha256 = checksum(text, tensors)
    text = text.replace(BLANK_CHECKSUM, sha256, 1)
    path.write_bytes(safetensors.numpy.save(tensors, {entry: text}))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip_is_bitwise(tmp_path, potential, dtype):
    potential = potential.astype(dtype)
    save_model(tmp_path / "model.safetensors", potential)
    loaded = load_model(tmp_path / "model.safetensors")
    before, after = leaves(potential), leaves(loaded)
    assert before.keys() == after.keys()
    for name in before:
        assert before[name].dtype == after[name].dtype
        assert before[name].tobytes() == after[name].tobytes()
    assert loaded.elements.numbers == potential.elements.numbers
    np.testing.assert_array_equal(
        loaded.elements.reference_energies, potential.elements.reference_energies
    )
    assert loaded.energy_scale == potential.energy_scale
    assert loaded.energy_offset == potential.energy_offset
    assert loaded.config == potential.config
    assert loaded.dtype == dtype
    assert loaded.metadata == potential.metadata


def test_loading_in_another_precision_casts_every_tensor(path, potential):
    loaded = load_model(path, dtype="float32")
    assert loaded.dtype == "float32"
    for name, leaf in leaves(loaded).items():
        np.testing.assert_array_equal(leaf, leaves(potential)[name].astype(np.float32))
        assert leaf.dtype == np.float32
    np.testing.assert_array_equal(
        loaded.elements.reference_energies, potential.elements.reference_energies
    )


def test_saving_what_was_loaded_gives_the_same_bytes(path, tmp_path):
    save_model(tmp_path / "again.safetensors", load_model(path))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_transposed_weights_are_saved_as_they_are_not_as_they_lie_in_memory(tmp_path, potential):
    def strided(leaf):
        leaf = np.asarray(leaf)
        return np.asfortranarray(leaf) if leaf.ndim == 2 else leaf

    variables = jax.tree.map(strided, potential.variables)
    save_model(tmp_path / "model.safetensors", potential.replace(variables=variables))
    loaded = load_model(tmp_path / "model.safetensors")
    for name, leaf in leaves(loaded).items():
        np.testing.assert_array_equal(leaf, leaves(potential)[name])


def test_header_says_what_the_model_is_without_loading_it(path, potential):
    header = read_header(path)
    assert header["model"]["name"] == "tensornet"
    assert header["model"]["cutoff"] == 4.0
    assert header["elements"]["symbols"] == ["H", "C", "O"]
    assert header["elements"]["reference_energies"][0] == -13.587222780835477
    assert header["units"]["energy"] == "eV"
    assert header["dtype"] == "float64"
    assert header["metadata"]["errors"] == {"energy": 1e-3}
    assert "forces" in header["properties"]
    assert header["format_version"] == 1


def test_every_flipped_bit_is_an_error(path):
    """Every bit of the header's frame and a spread of bits over the rest of the file."""
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    header_end = 8 + int.from_bytes(content[:8], "little")
    offsets = {*range(64), *range(header_end - 8, header_end + 8), len(content) - 1}
    offsets |= set(rng.integers(64, header_end, 500).tolist())
    offsets |= set(rng.integers(header_end, len(content), 200).tolist())
    for offset in sorted(offsets):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"model\.safetensors"):
            load_model(path)
        with pytest.raises(ModelFileError):
            read_header(path)


def test_every_truncation_is_an_error(path):
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    lengths = {*range(20), len(content) - 1, *rng.integers(0, len(content), 100).tolist()}
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"truncated|empty"):
            load_model(path)


@pytest.mark.parametrize("length", [0x0280, 0x0480, 0x0580])
def test_a_header_as_long_as_a_pickles_first_bytes_is_not_called_one(path, length):
    for kept in (1, 2, 8, 12):
        path.write_bytes((length.to_bytes(8, "little") + b'{"__metadata__"')[:kept])
        with pytest.raises(ModelFileError, match="truncated"):
            load_model(path)


def test_appended_bytes_are_an_error(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load_model(path)


def test_rewriting_with_a_right_checksum_is_no_damage(path, potential):
    rewrite(path, header={"energy_scale": 2.0})
    assert load_model(path).energy_scale == 2.0


def test_exchanged_weights_of_equal_shape_fail_the_checksum(path):
    tensors = safetensors.numpy.load(path.read_bytes())
    matrices = [name for name in sorted(tensors) if tensors[name].ndim == 2]
    one, two = next(
        (a, b) for a in matrices for b in matrices if a < b and tensors[a].shape == tensors[b].shape
    )
    rewrite(path, tensors={one: tensors[two], two: tensors[one]}, keep_checksum=True)
    with pytest.raises(ModelFileError, match="checksum does not match"):
        load_model(path)


def test_edited_header_fails_the_checksum(path):
    rewrite(path, header={"energy_scale": 2.0}, keep_checksum=True)
    with pytest.raises(ModelFileError, match="checksum does not match"):
        load_model(path)


def test_missing_extra_and_misshapen_tensors_are_named(path):
    tensors = safetensors.numpy.load(path.read_bytes())
    name = min(name for name in tensors if name.startswith("params/") and tensors[name].ndim == 2)
    content = path.read_bytes()
    faults = {
        "is missing": {name: None},
        "is not part of it": {"params/stranger": np.zeros(3)},
        r"is float64\(\d+, \d+\) and should be float64": {name: tensors[name][:-1].copy()},
        "is float32.* and should be float64": {name: tensors[name].astype(np.float32)},
    }
    for message, change in faults.items():
        path.write_bytes(content)
        rewrite(path, tensors=change)
        with pytest.raises(ModelFileError, match=f"({name}|params/stranger) {message}"):
            load_model(path)


def test_weights_of_another_size_of_model_are_refused(path):
    rewrite(path, header={"model": CONFIG.model_copy(update={"num_channels": 6}).model_dump()})
    with pytest.raises(ModelFileError, match=r"do not fit the tensornet of its config.* more\."):
        load_model(path)


def test_unknown_model_lists_the_known_ones(path):
    rewrite(path, header={"model": {"name": "schnet"}})
    with pytest.raises(ModelFileError, match=r"model named 'schnet'.*tensornet"):
        load_model(path)


def test_invalid_model_config_is_reported(path):
    rewrite(path, header={"model": {"name": "tensornet", "cutof": 3.0}})
    with pytest.raises(ModelFileError, match="cutof"):
        load_model(path)


def test_header_without_an_entry_is_reported(path):
    rewrite(path, header={"elements": {}})
    with pytest.raises(ModelFileError, match="lacks or misstates"):
        load_model(path)


def test_file_of_a_newer_format_asks_for_an_upgrade(path):
    rewrite(path, header={"format_version": 2}, keep_checksum=True)
    with pytest.raises(ModelFileError, match=r"format version 2.*upgrade"):
        load_model(path)


def test_foreign_safetensors_file_is_refused(path):
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="not a model file of tensornet_jax"):
        load_model(path)


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("protocol", range(6))
def test_malicious_pickle_is_refused_and_not_run(tmp_path, protocol):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "witness"), protocol=protocol))
    # Protocols 0 and 1 have no mark of their own; they are refused as no safetensors file.
    message = "is a Python pickle" if protocol >= 2 else "is not a safetensors file"
    with pytest.raises(ModelFileError, match=message):
        load_model(path)
    assert not (tmp_path / "witness").exists()


def test_malicious_torch_archive_is_refused_and_not_run(tmp_path):
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Trap(tmp_path / "witness")))
    with pytest.raises(ModelFileError, match="zip archive, probably a torch checkpoint"):
        load_model(path)
    assert not (tmp_path / "witness").exists()


def test_text_file_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: tensornet\n" * 10)
    with pytest.raises(ModelFileError, match=r"config\.yaml is not a safetensors file"):
        load_model(path)


def test_missing_file_and_wrong_dtype_are_reported(path, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_model(tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match="'float16'"):
        load_model(path, dtype="float16")


def test_failure_while_writing_keeps_the_earlier_file(path, potential, monkeypatch):
    before = path.read_bytes()

    def fail(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        save_model(path, potential.replace(energy_scale=5.0))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_saved_file_has_the_permissions_of_any_new_file(path, tmp_path):
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_numbers_that_json_cannot_hold_are_refused_before_anything_is_written(tmp_path, potential):
    for broken in (
        potential.replace(energy_scale=float("nan")),
        potential.replace(metadata={"error": float("inf")}),
    ):
        with pytest.raises(ValueError, match="JSON"):
            save_model(tmp_path / "model.safetensors", broken)
    assert not any(tmp_path.iterdir())


def test_loaded_potential_predicts_what_the_saved_one_did(path, potential):
    atoms = molecule("CH3CH2OH")
    before = potential.evaluate(atoms, compute=("energies",))[0]["energies"]
    after = load_model(path).evaluate(atoms, compute=("energies",))[0]["energies"]
    np.testing.assert_array_equal(before, after)
