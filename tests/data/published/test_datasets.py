"""The list of public data sets is complete, and missing files say how they are fetched."""

import hashlib
from pathlib import PurePath

import pytest

from tensornet_jax.data.published.datasets import PublishedFile, how_to_fetch, load_registry
from tensornet_jax.data.readers import read_labelled

DATASETS = load_registry().datasets


def test_names_and_files_are_distinct():
    names = [dataset.name for dataset in DATASETS]
    assert len(set(names)) == len(names)
    for dataset in DATASETS:
        files = [file.path for file in dataset.files]
        downloads = [file.download_name for file in dataset.files]
        assert len(set(files)) == len(files)
        assert len(set(downloads)) == len(downloads), "--from could not tell them apart"


def test_what_is_fetched_from_github_is_one_commit():
    for file in (file for dataset in DATASETS for file in dataset.files):
        host, *rest = file.url.removeprefix("https://").split("/")
        if host == "raw.githubusercontent.com":
            assert len(rest[2]) == 40, f"{file.url} may change"


def test_a_file_is_checked_by_its_checksum_or_by_its_contents():
    for file in (file for dataset in DATASETS for file in dataset.files):
        if file.layout is not None:
            assert file.structures, file
            assert file.atoms, file


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"no data set 'qm9'.*3bpa, acac"):
        load_registry().named("qm9")
    assert load_registry().named("3BPA").name == "3bpa"


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/3bpa/train_300K.xyz", "tensornet-jax fetch 3bpa"),
        ("../sets/acac/train_300K.xyz", "tensornet-jax fetch acac ../sets/acac"),
        ("data/3bpa/train.xyz", None),
        ("train_300K.xyz", None),
    ],
)
def test_the_command_that_makes_a_missing_file(path, command):
    assert how_to_fetch(PurePath(path)) == command


def test_reading_a_missing_file_of_a_data_set_names_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no such file .*: tensornet-jax fetch mlearn$"):
        read_labelled("data/mlearn/Si_train.xyz")
    with pytest.raises(FileNotFoundError) as error:
        read_labelled("mine/Si_train.xyz")
    assert "fetch" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://example.org/a.xyz"},
        {"path": "../a.xyz"},
        {"path": "a/b.xyz"},
        {"sha256": "abc"},
        {"layout": "pickle"},
    ],
)
def test_a_wrong_entry_is_an_error(change):
    entry = {"path": "a.xyz", "url": "https://example.org/a.xyz"}
    PublishedFile.model_validate(entry)
    with pytest.raises(ValueError, match=next(iter(change))):
        PublishedFile.model_validate(entry | change)


CHECKED = {
    dataset.name: files
    for dataset in DATASETS
    if (files := [file for file in dataset.files if file.sha256 and not file.layout])
}


@pytest.mark.parametrize("name", CHECKED)
def test_checksums_are_those_of_the_files_at_hand(name, shared_data):
    folder = shared_data({"rmd17_ethanol": "rmd17_ethanol_pbe"}.get(name, name))
    for file in CHECKED[name]:
        content = (folder / file.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
