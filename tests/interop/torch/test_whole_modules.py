"""Whole modules become records; what would run code, or fill memory, is refused unread."""

import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensornet_jax.interop.torch.whole_modules import Name, Record, read_whole_module

ALLOWED = ("mylib.*", "torch.nn.functional.silu")


def archive(path: Path, program: bytes, compression=zipfile.ZIP_STORED, **entries: bytes) -> Path:
    """Write a file as torch.save lays it out."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("model/data.pkl", program)
        file.writestr("model/byteorder", b"little")
        for key, content in entries.items():
            file.writestr(f"model/data/{key.removeprefix('_')}", content)
    return path


def call(name: str, *arguments: Any) -> bytes:
    """Return a program that calls a function of a module by its name."""
    module, _, function = name.rpartition(".")
    packed = pickle.dumps(arguments, protocol=2)
    return b"\x80\x02c" + f"{module}\n{function}\n".encode() + packed[2:-1] + b"R."


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """Return a program that makes a tensor of the numbers in the entry 0."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", value)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nDoubleStorage\nX\x01\x00\x00\x000"
    storage += b"X\x03\x00\x00\x00cpu" + number(6) + b"tQ"
    parts = storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89N"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tR."


NUMBERS = np.arange(6.0)


class Attack:
    """Something whose unpickling runs a command."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_command_is_refused_by_its_name_and_does_not_run(tmp_path, protocol):
    marker = tmp_path / "executed"
    attack = Attack(f"touch {marker}")
    state = OrderedDict(weight=1.0, extra=attack)
    path = archive(tmp_path / "evil.model", pickle.dumps(state, protocol=protocol))
    with pytest.raises(ValueError, match=r"evil\.model names (posix|nt)\.system"):
        read_whole_module(path, ALLOWED)
    assert not marker.exists()
    pickle.loads(pickle.dumps(attack))
    assert marker.exists(), "the attack works where it is unpickled"


@pytest.mark.parametrize(
    "name", ["builtins.eval", "builtins.getattr", "pathlib.Path", "mylibrary.Thing", "torch.load"]
)
def test_what_is_not_on_the_list_is_refused_by_its_name(tmp_path, name):
    with pytest.raises(ValueError, match=f"names {name}"):
        read_whole_module(archive(tmp_path / "a.model", call(name, "1 + 1")), ALLOWED)


def test_what_is_on_the_list_is_a_record_and_nothing_more(tmp_path):
    found = read_whole_module(archive(tmp_path / "a.model", call("mylib.Thing", 3, "x")), ALLOWED)
    assert isinstance(found, Record)
    assert (found.name, found.class_name, found.arguments) == ("mylib.Thing", "Thing", (3, "x"))
    program = b"\x80\x02ctorch.nn.functional\nsilu\n."
    found = read_whole_module(archive(tmp_path / "b.model", program), ALLOWED)
    assert found == Name("torch.nn.functional.silu")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_survive(tmp_path, protocol):
    content = {"a": [1, 2.5, None, True, -(2**40)], "b": (b"\xff\x00", "ä", {3}), "c": {"d": ()}}
    program = pickle.dumps(content, protocol=protocol)
    assert read_whole_module(archive(tmp_path / "a.model", program), ALLOWED) == content


def test_numbers_of_numpy_are_numbers(tmp_path):
    content = [np.float64(2.5), np.float32(0.5), np.int64(-3)]
    program = pickle.dumps(content, protocol=2)
    assert read_whole_module(archive(tmp_path / "a.model", program), ALLOWED) == content
    with pytest.raises(ValueError, match="unknown kind"):
        read_whole_module(
            archive(tmp_path / "b.model", pickle.dumps(np.complex128(1), protocol=2)), ALLOWED
        )


def test_tensors_are_arrays_of_any_strides(tmp_path):
    for shape, strides, expected in (
        ((2, 3), (3, 1), NUMBERS.reshape(2, 3)),
        ((3, 2), (1, 3), NUMBERS.reshape(2, 3).T),
        ((), (), NUMBERS[0]),
        ((0,), (1,), np.zeros(0)),
    ):
        path = archive(tmp_path / "a.model", tensor(shape, strides), _0=NUMBERS.tobytes())
        np.testing.assert_array_equal(read_whole_module(path, ALLOWED), expected)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((2, 4), (3, 1), 0),
        ((2, 3), (3, 1), 1),
        ((2, 3), (-3, 1), 5),
        ((10**9,), (0,), 0),
        ((2, 3), (3,), 0),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, shape, strides, offset):
    program = tensor(shape, strides, offset)
    with pytest.raises(ValueError, match=r"a\.model: a tensor"):
        read_whole_module(archive(tmp_path / "a.model", program, _0=NUMBERS.tobytes()), ALLOWED)


def test_a_zip_bomb_is_refused_unread(tmp_path):
    path = archive(tmp_path / "a.model", b"\x80\x02" + bytes(10**7), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match="compressed"):
        read_whole_module(path, ALLOWED)


def test_a_file_larger_inside_than_outside_is_refused(tmp_path):
    path = archive(tmp_path / "a.model", b"\x80\x02N.", _0=bytes(1000))
    content = path.read_bytes()
    # The directory at the end says where an entry is and how large.
    place = content.rindex(b"PK\x01\x02")
    sizes = struct.pack("<II", 10**6, 10**6)
    path.write_bytes(content[: place + 20] + sizes + content[place + 28 :])
    with pytest.raises(ValueError, match="larger than the file"):
        read_whole_module(path, ALLOWED)


def test_damaged_files_are_refused(tmp_path):
    path = archive(tmp_path / "a.model", tensor((6,), (1,)), _0=NUMBERS.tobytes())
    whole = path.read_bytes()
    for length in (0, 3, 40, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.model"):
            read_whole_module(path, ALLOWED)
    place = whole.index(NUMBERS.tobytes()) + 3
    path.write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
    with pytest.raises(ValueError, match="damaged"):
        read_whole_module(path, ALLOWED)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02N0.",
        b"\x80\x02]K\x01R.",
        b"\x80\x02h\x07.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02t.",
        b"\x80\x02((N1t.",
        b"not a pickle",
        b"\x80\x02cmylib\n.",
    ],
)
def test_programs_that_torch_would_not_write_are_refused(tmp_path, program):
    with pytest.raises(ValueError, match=r"a\.model"):
        read_whole_module(archive(tmp_path / "a.model", program), ALLOWED)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "old.model").write_bytes(pickle.dumps(1, protocol=2))
    with pytest.raises(ValueError, match=r"old\.model is not a file of torch\.save"):
        read_whole_module(tmp_path / "old.model", ALLOWED)
    with pytest.raises(FileNotFoundError):
        read_whole_module(tmp_path / "absent.model", ALLOWED)
