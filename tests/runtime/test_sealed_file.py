"""A sealed file comes back bit for bit, and shows every change."""

import json
import math

import numpy as np
import pytest
import safetensors.numpy

from tensornet_jax.runtime.sealed_file import (
    DamagedError,
    ForeignError,
    NotSafetensorsError,
    OtherVersionError,
    SealedFormat,
    SealError,
)

FORMAT = SealedFormat("entry", version=2)
ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3).T,
    "b": np.array(7, np.int32),
    "none": np.zeros((0, 3), np.float32),
    "which": np.array([True, False]),
}


@pytest.fixture
def path(tmp_path):
    FORMAT.write(tmp_path / "file", {"name": "Å", "step": 3}, ARRAYS)
    return tmp_path / "file"


def test_header_and_arrays_come_back(path):
    header, arrays = FORMAT.read(path)
    assert list(header) == ["sha256", "format_version", "name", "step"]
    assert (header["format_version"], header["name"], header["step"]) == (2, "Å", 3)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_every_changed_byte_and_every_truncation_is_an_error(path):
    content = path.read_bytes()
    for offset in range(len(content)):
        damaged = bytearray(content)
        damaged[offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(SealError):
            FORMAT.read(path)
        path.write_bytes(content[:offset])
        with pytest.raises(NotSafetensorsError):
            FORMAT.read(path)


def test_arrays_that_change_places_are_noticed(path):
    content = path.read_bytes()
    text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    path.write_bytes(safetensors.numpy.save({**ARRAYS, "a": ARRAYS["a"].T.copy()}, text))
    with pytest.raises(DamagedError, match="checksum"):
        FORMAT.read(path)


def test_other_files_are_told_apart(path):
    with pytest.raises(ForeignError):
        SealedFormat("other", version=2).read(path)
    with pytest.raises(OtherVersionError, match="version 2") as raised:
        SealedFormat("entry", version=1).read(path)
    assert raised.value.header["name"] == "Å"
    path.write_bytes(b"text")
    with pytest.raises(NotSafetensorsError) as refused:
        FORMAT.read(path)
    assert refused.value.content == b"text"


def test_an_earlier_version_is_read_with_the_checksum_it_had(path):
    seen = []

    def former(text, arrays):
        seen.append((text, sorted(arrays)))
        return FORMAT.read(path)[0]["sha256"]

    later = SealedFormat("entry", version=3, earlier={2: former})
    assert later.read(path)[0]["step"] == 3
    assert seen[0][1] == sorted(ARRAYS)
    with pytest.raises(DamagedError):
        SealedFormat("entry", version=3, earlier={2: lambda *_: "1"}).read(path)


def test_numbers_that_are_no_json_are_only_written_where_allowed(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        FORMAT.write(tmp_path / "file", {"best": math.inf}, {})
    assert not any(tmp_path.iterdir())
    own = SealedFormat("entry", version=1, allow_nan=True)
    own.write(tmp_path / "file", {"best": math.inf}, {})
    assert own.read(tmp_path / "file")[0]["best"] == math.inf


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    FORMAT.write(tmp_path / "again", {"name": "Å", "step": 3}, ARRAYS)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
