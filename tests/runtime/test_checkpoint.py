"""A checkpoint comes back bit for bit, or says that it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import safetensors.numpy

from tensornet_jax.runtime import checkpoint
from tensornet_jax.runtime.checkpoint import CheckpointError, CheckpointStore
from tensornet_jax.runtime.sealed_file import SealedFormat


def state(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    params = {"layer": {"kernel": rng.normal(size=(5, 3)), "bias": rng.normal(size=3)}}
    return {
        "step": np.asarray(seed, np.int32),
        "params": params,
        "optimizer": optax.adamw(1e-3).init(params),
        "single": rng.normal(size=4).astype(np.float32),
        "empty": np.zeros((0, 3)),
    }


def assert_same(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 16
    path.write_bytes(bytes(data))


def saved(folder: Path, *steps: int) -> CheckpointStore:
    store = CheckpointStore(folder)
    for step in steps:
        store.save(step, state(step), {"epoch": step})
    return store


def test_everything_comes_back_bit_for_bit(tmp_path):
    progress = {"epoch": 3, "best": 0.1 + 0.2, "plateau": [1.0, float("inf")]}
    CheckpointStore(tmp_path).save(7, state(7), progress)
    restored = CheckpointStore(tmp_path).restore(state(0))
    assert restored is not None
    assert restored.step == 7
    assert restored.progress == progress
    assert CheckpointStore(tmp_path).newest_progress() == progress
    assert_same(restored.state, state(7))


def test_the_newest_two_are_kept(tmp_path):
    assert saved(tmp_path, 1, 2, 3).steps() == [2, 3]


def test_saving_a_step_again_replaces_it(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(4, state(1), {"finished": False})
    store.save(4, state(2), {"finished": True})
    restored = store.restore(state(0))
    assert restored is not None
    assert restored.progress == {"finished": True}
    assert_same(restored.state, state(2))


def test_no_checkpoint_is_no_error(tmp_path):
    store = CheckpointStore(tmp_path / "new")
    assert store.restore(state()) is None
    assert store.newest_progress() is None


def test_a_save_killed_in_the_middle_leaves_the_previous_checkpoint(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
import numpy as np
from tensornet_jax.runtime.checkpoint import CheckpointStore

store = CheckpointStore(Path(sys.argv[1]))
store.save(1, {"x": np.arange(5.0)}, {"epoch": 1})
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
store.save(2, {"x": np.arange(5.0) + 1}, {"epoch": 2})
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert len(list(tmp_path.iterdir())) == 2, "the unfinished checkpoint should be there"
    store = CheckpointStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1.safetensors"]
    restored = store.restore({"x": np.zeros(5)})
    assert restored is not None
    assert restored.progress == {"epoch": 1}


@pytest.mark.parametrize("damage", ["array bit", "record value", "half a copy", "empty"])
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, damage):
    store = saved(tmp_path, 1, 2)
    newest = tmp_path / "2.safetensors"
    content = newest.read_bytes()
    if damage == "array bit":
        flip_a_bit(newest)
    elif damage == "record value":
        newest.write_bytes(content.replace(b'\\"epoch\\": 2', b'\\"epoch\\": 5'))
        assert newest.read_bytes() != content
    else:
        newest.write_bytes(content[: len(content) // 2] if damage == "half a copy" else b"")
    messages = []
    restored = store.restore(state(0), messages.append)
    assert restored is not None
    assert restored.step == 1
    assert_same(restored.state, state(1))
    assert len(messages) == 1
    assert str(newest) in messages[0]
    assert store.steps() == [1]


def test_only_damaged_checkpoints_are_an_error_that_names_the_directory(tmp_path):
    store = saved(tmp_path, 1)
    flip_a_bit(tmp_path / "1.safetensors")
    with pytest.raises(CheckpointError, match=r"every checkpoint .* is damaged"):
        store.restore(state(0))
    assert store.steps() == [1]


def test_the_checkpoint_of_another_model_is_refused_by_the_name_of_the_array(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, {"kernel": np.zeros((3, 4))}, {})
    with pytest.raises(CheckpointError, match=r"kernel.*\(3, 4\) there.*\(3, 5\) here"):
        store.restore({"kernel": np.zeros((3, 5))})


def test_the_checkpoint_of_a_later_version_is_refused_and_kept(tmp_path, monkeypatch):
    later = SealedFormat(checkpoint.FORMAT.entry, version=99)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", later)
        saved(tmp_path, 3)
    with pytest.raises(CheckpointError, match=r"3\.safetensors has format version 99"):
        CheckpointStore(tmp_path).restore(state(0))
    assert CheckpointStore(tmp_path).steps() == [3]


def test_a_checkpoint_is_one_file_that_other_programs_can_read(tmp_path):
    saved(tmp_path, 5)
    content = (tmp_path / "5.safetensors").read_bytes()
    found = safetensors.numpy.load(content)
    np.testing.assert_array_equal(
        found["['params']['layer']['bias']"], state(5)["params"]["layer"]["bias"]
    )
    entries = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert json.loads(entries["tensornet_jax_checkpoint"])["progress"] == {"epoch": 5}
