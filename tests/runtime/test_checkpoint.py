"""A checkpoint comes back bit for bit, or says that it cannot."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optax
import pytest

from tensornet_jax.runtime.checkpoint import CheckpointError, CheckpointStore


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
    import jax

    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(bytes(data))


def test_everything_comes_back_bit_for_bit(tmp_path):
    progress = {"epoch": 3, "best": 0.1 + 0.2, "plateau": [1.0, float("inf")]}
    with CheckpointStore(tmp_path) as store:
        store.save(7, state(7), progress)
    with CheckpointStore(tmp_path) as store:
        restored = store.restore(state(0))
    assert restored is not None
    assert restored.step == 7
    assert restored.progress == progress
    assert_same(restored.state, state(7))


def test_the_newest_two_are_kept(tmp_path):
    with CheckpointStore(tmp_path) as store:
        for step in (1, 2, 3):
            store.save(step, state(step), {})
        assert store.steps() == [2, 3]


def test_saving_a_step_again_replaces_it(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(4, state(1), {"finished": False})
        store.save(4, state(2), {"finished": True})
        restored = store.restore(state(0))
    assert restored is not None
    assert restored.progress == {"finished": True}
    assert_same(restored.state, state(2))


def test_no_checkpoint_is_no_error(tmp_path):
    with CheckpointStore(tmp_path / "new") as store:
        assert store.restore(state()) is None


def test_a_save_killed_in_the_middle_leaves_the_previous_checkpoint(tmp_path):
    script = """
import os, signal, sys
import numpy as np
from orbax.checkpoint import checkpoint_manager
from tensornet_jax.runtime.checkpoint import CheckpointStore

store = CheckpointStore(sys.argv[1])
store.save(1, {"x": np.arange(5.0)}, {"epoch": 1})
from orbax.checkpoint._src.path import atomicity
import orbax.checkpoint as ocp
handler = ocp.StandardCheckpointHandler
real = handler.async_save
async def die(self, directory, *args, **kwargs):
    await real(self, directory, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
handler.async_save = die
store.save(2, {"x": np.arange(5.0) + 1}, {"epoch": 2})
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert len(list(tmp_path.iterdir())) == 2, "the half-written checkpoint should be there"
    with CheckpointStore(tmp_path) as store:
        restored = store.restore({"x": np.zeros(5)})
        assert restored is not None
        assert restored.progress == {"epoch": 1}
        store.save(2, {"x": np.arange(5.0) + 1}, {"epoch": 2})
        assert store.steps() == [1, 2]


@pytest.mark.parametrize("damage", ["array bit", "array missing", "record value", "half a copy"])
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, damage):
    with CheckpointStore(tmp_path) as store:
        store.save(1, state(1), {"epoch": 1})
        store.save(2, state(2), {"epoch": 2})
    newest = tmp_path / "2"
    if damage == "half a copy":
        shutil.rmtree(newest)
        newest.mkdir()
        shutil.copytree(tmp_path / "1" / "record", newest / "record")
    elif damage == "record value":
        path = newest / "record" / "metadata"
        record = json.loads(path.read_text())
        record["content"]["progress"]["epoch"] = 5
        path.write_text(json.dumps(record))
    else:
        for path in (newest / "state").rglob("d/*"):
            if damage == "array bit":
                flip_a_bit(path)
            else:
                path.unlink()
    messages = []
    with CheckpointStore(tmp_path) as store:
        restored = store.restore(state(0), messages.append)
        assert restored is not None
        assert restored.step == 1
        assert_same(restored.state, state(1))
        assert len(messages) == 1
        assert str(newest) in messages[0]
        store.save(2, state(2), {"epoch": 2})
        assert store.steps() == [1, 2]


def test_only_damaged_checkpoints_are_an_error_that_names_the_directory(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(1, state(1), {})
    for path in (tmp_path / "1" / "state").rglob("d/*"):
        flip_a_bit(path)
    with (
        CheckpointStore(tmp_path) as store,
        pytest.raises(CheckpointError, match=r"every checkpoint .* is damaged"),
    ):
        store.restore(state(0))


def test_the_checkpoint_of_another_model_is_refused_by_the_name_of_the_array(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(1, {"kernel": np.zeros((3, 4))}, {})
        with pytest.raises(CheckpointError, match=r"kernel.*\(3, 4\) there.*\(3, 5\) here"):
            store.restore({"kernel": np.zeros((3, 5))})
