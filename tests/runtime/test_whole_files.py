"""A file is there whole, or as it was before."""

import hashlib
import os

import pytest

from tensornet_jax.runtime.whole_files import replacing, sha256_of, write_whole


def test_a_file_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "file"
    for content in (b"old and longer", b"new"):
        write_whole(path, content)
        assert path.read_bytes() == content
    write_whole(path, "Å\n")
    assert path.read_bytes() == "Å\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_does_not_reach_the_disk_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_checksum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
