"""Published files arrive whole and checked, or not at all, and never over another file."""

import hashlib
import http.server
import io
import json
import tarfile
import threading
from functools import partial
from typing import Any

import ase.io
import pytest

from tensornet_jax.data.published.datasets import PublishedFile
from tensornet_jax.data.published.download import fetch_file
from tests.data.formats.test_layouts import mlearn_entry

CONTENT = b"1\n\nH 0 0 0\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):  # noqa: A002
        pass

    def end_headers(self):
        # A server that breaks off says more bytes than it sends.
        if self.path.startswith("/cut"):
            self.send_header("Content-Length", "1000000")
        super().end_headers()

    def send_header(self, keyword, value):
        if keyword != "Content-Length" or value == "1000000" or not self.path.startswith("/cut"):
            super().send_header(keyword, value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of a server, and its address."""
    folder = tmp_path_factory.mktemp("site")
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def published(site, content: bytes = CONTENT, name: str = "a.xyz", **fields) -> PublishedFile:
    folder, address = site
    (folder / name).write_bytes(content)
    fields = {"path": "a.xyz", "sha256": hashlib.sha256(content).hexdigest()} | fields
    # The registry takes https alone, which a server of one test does not speak.
    file = PublishedFile.model_validate({"url": f"https://example.org/{name}"} | fields)
    return file.model_copy(update={"url": f"{address}/{name}"})


def leftovers(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_byte_for_byte_in_a_new_folder(site, tmp_path):
    fetched = fetch_file(published(site), tmp_path / "data" / "set")
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.verified
    assert leftovers(fetched.path.parent) == {"a.xyz"}


def test_a_wrong_checksum_leaves_nothing(site, tmp_path):
    file = published(site, sha256="0" * 64)
    with pytest.raises(ValueError, match=f"not {'0' * 64}.*nothing was written"):
        fetch_file(file, tmp_path)
    assert leftovers(tmp_path) == set()


def test_without_a_known_checksum_that_of_the_download_is_told(site, tmp_path):
    fetched = fetch_file(published(site, sha256=None), tmp_path)
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert not fetched.verified


def test_a_file_that_is_there_is_never_overwritten(site, tmp_path):
    file, target = published(site), tmp_path / "a.xyz"
    target.write_bytes(CONTENT)
    assert fetch_file(file, tmp_path).sha256 is None
    target.write_bytes(b"mine")
    with pytest.raises(ValueError, match="move it away"):
        fetch_file(file, tmp_path)
    fetch_file(published(site, sha256=None), tmp_path)
    assert target.read_bytes() == b"mine"


def test_a_file_that_appears_during_the_download_is_not_overwritten(site, tmp_path, monkeypatch):
    from tensornet_jax.data.published import download

    sha256 = download.sha256_of

    def slow(path):
        (tmp_path / "a.xyz").write_bytes(b"of another process")
        return sha256(path)

    monkeypatch.setattr(download, "sha256_of", slow)
    with pytest.raises(ValueError, match="has appeared"):
        fetch_file(published(site), tmp_path)
    assert (tmp_path / "a.xyz").read_bytes() == b"of another process"


@pytest.mark.parametrize("name", ["cut.xyz", "missing.xyz"])
def test_a_download_that_fails_says_what_to_do_by_hand(site, tmp_path, name):
    file = published(site, name=name)
    if name == "missing.xyz":
        (site[0] / name).unlink()
    with pytest.raises(OSError, match=r"cannot be downloaded") as error:
        fetch_file(file, tmp_path, timeout=10)
    for part in (file.url, str(file.sha256), "--from", str(tmp_path / "a.xyz")):
        assert part in str(error.value)
    assert leftovers(tmp_path) == set()


def test_no_connection_is_an_error_that_says_what_to_do_by_hand(site, tmp_path):
    file = published(site).model_copy(update={"url": "http://127.0.0.1:9/a.xyz"})
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9.*refused.*\n.*--from"):
        fetch_file(file, tmp_path)


def test_files_downloaded_by_other_means_are_taken_and_checked(site, tmp_path):
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    file = published(site).model_copy(update={"url": "http://127.0.0.1:9/published.xyz"})
    with pytest.raises(FileNotFoundError, match=r"published\.xyz"):
        fetch_file(file, tmp_path / "data", downloads=by_hand)
    (by_hand / "published.xyz").write_bytes(CONTENT)
    assert fetch_file(file, tmp_path / "data", downloads=by_hand).verified
    (by_hand / "published.xyz").write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=r"by hand.published\.xyz: the file has sha256"):
        fetch_file(file, tmp_path / "other", downloads=by_hand)


def archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as opened:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        opened.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_a_file_of_another_layout_is_rewritten_and_counted(site, tmp_path):
    content = archive("set/training.json", json.dumps([mlearn_entry()] * 3).encode())
    fields = {"member": "set/training.json", "layout": "mlearn", "structures": 3, "atoms": 6}
    file = published(site, content, "set.tar.gz", **fields)
    fetched = fetch_file(file, tmp_path)
    frames: Any = ase.io.read(fetched.path, ":", format="extxyz")
    assert len(frames) == 3
    assert frames[0].info["REF_energy"] == -10.0
    assert leftovers(tmp_path) == {"a.xyz"}
    for change, message in (
        ({"structures": 4}, "3 structures, not 4"),
        ({"atoms": 7}, "6 atoms, not 7"),
        ({"member": "set/none.json"}, r"no file set/none\.json"),
        ({"member": None}, "not laid out"),
    ):
        with pytest.raises(ValueError, match=message):
            fetch_file(file.model_copy(update=change), tmp_path / "other")
    assert leftovers(tmp_path / "other") == set()
