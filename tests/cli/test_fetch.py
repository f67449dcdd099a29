"""`tensornet-jax fetch` lists public data sets and puts their files where configs look for them."""

import hashlib
import subprocess
import sys

import pytest

from tensornet_jax.data.published.datasets import PublishedDataset, PublishedFile, load_registry

DATASETS = load_registry().datasets


def test_without_a_name_all_data_sets_are_listed(cli):
    result = cli("fetch")
    assert result.exit_code == 0
    for dataset in DATASETS:
        assert f"{dataset.name}: {dataset.about}" in result.stdout
        assert dataset.page in result.stdout


def test_an_unknown_name_is_an_error(cli):
    result = cli("fetch", "qm9")
    assert result.exit_code == 2
    assert "no data set 'qm9'" in result.stderr


@pytest.fixture
def tiny(monkeypatch):
    """Put a data set of one file in place of those in 3bpa."""
    content = b"1\n\nH 0 0 0\n"
    file = PublishedFile(
        path="h.xyz",
        url="https://127.0.0.1:9/published.xyz",
        sha256=hashlib.sha256(content).hexdigest(),
    )
    dataset = PublishedDataset(name="tiny", about="H", page="https://example.org", files=(file,))
    registry = load_registry().model_copy(update={"datasets": (dataset,)})
    monkeypatch.setattr("tensornet_jax.data.published.datasets.load_registry", lambda: registry)
    return content


def test_files_go_to_data_name_and_stay_as_they_are(cli, tiny, tmp_path):
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    (by_hand / "published.xyz").write_bytes(tiny)
    first, again = (cli("fetch", "tiny", "--from", by_hand) for _ in range(2))
    assert "data/tiny/h.xyz: checksum right" in first.stdout
    assert "license" in first.stdout
    assert "data/tiny/h.xyz: was there, checksum right" in again.stdout
    assert (tmp_path / "data/tiny/h.xyz").read_bytes() == tiny
    assert cli("fetch", "tiny", "elsewhere", "--from", by_hand).exit_code == 0
    assert (tmp_path / "elsewhere/h.xyz").is_file()


def test_without_a_connection_the_message_says_what_to_do(cli, tiny):
    result = cli("fetch", "tiny")
    assert result.exit_code == 2
    for part in ("https://127.0.0.1:9/published.xyz", "sha256", "--from", "data/tiny/h.xyz"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_of_the_output_who_has_enough_causes_no_error():
    command = [sys.executable, "-c", "from tensornet_jax.cli import app; app()", "fetch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
