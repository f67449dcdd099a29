"""Files of torch.save give arrays and plain data, and whatever else they hold is refused."""

import argparse
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from tensornet_jax.interop.torch.files import read_torch_file, write_torch_file


@pytest.fixture
def torch():
    """Return torch, which is not among the test requirements: it is large."""
    return pytest.importorskip("torch", reason="torch (the extra 'interop') is not installed")


class Malicious:
    """An object whose unpickling writes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.write_text, (self.marker, "executed")


def test_without_torch_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "model.ckpt"
    path.touch()
    for attempt in (lambda: read_torch_file(path), lambda: write_torch_file(path, {})):
        with pytest.raises(ImportError, match=r"tensornet_jax\[interop\]"):
            attempt()


def test_arrays_and_settings_survive_a_round_trip(torch, tmp_path):
    content = {"a": np.arange(6.0).reshape(2, 3), "settings": {"layers": [1, 2], "name": None}}
    write_torch_file(tmp_path / "model.ckpt", content)
    found = read_torch_file(tmp_path / "model.ckpt")
    np.testing.assert_array_equal(found["a"], content["a"])
    assert found["a"].dtype == np.float64
    assert found["settings"] == content["settings"]


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_checkpoint_may_hold_becomes_plain_data(torch, tmp_path, zipped):
    path = tmp_path / "model.ckpt"
    content = {
        "brain": torch.tensor([1.0, 1.5], dtype=torch.bfloat16),
        "half": torch.tensor([0.1], dtype=torch.half),
        "trained": torch.nn.Parameter(torch.ones(2, dtype=torch.float64)),
        "dtype": torch.float32,
        "shape": torch.Size([2, 3]),
        "settings": argparse.Namespace(num_layers=2),
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_torch_file(path)
    assert found["brain"].dtype == np.float32
    assert found["brain"].tolist() == [1.0, 1.5]
    assert found["half"].dtype == np.float16
    assert found["half"] == np.float16(0.1)
    assert found["trained"].tolist() == [1.0, 1.0]
    assert (found["dtype"], found["shape"]) == ("torch.float32", (2, 3))
    assert found["settings"] == {"num_layers": 2}


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_malicious_pickle_is_refused(torch, tmp_path, how):
    marker, path = tmp_path / "executed", tmp_path / "model.ckpt"
    attack = {"state_dict": {"a": torch.ones(1)}, "hyper_parameters": Malicious(marker)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(Malicious(marker), protocol=2))
    else:
        torch.save(attack, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(ValueError, match=r"model\.ckpt.*(Path|getattr)"):
        read_torch_file(path)
    assert not marker.exists()
    if how == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert marker.exists(), "the attack works where a file is unpickled"


def test_a_whole_module_is_refused_by_its_name(torch, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_torch_file(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_other_files_are_refused(torch, tmp_path, content):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.ckpt is not a file of torch\.save"):
        read_torch_file(path)


def test_a_missing_file_is_missing(torch, tmp_path):
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "absent.ckpt")
