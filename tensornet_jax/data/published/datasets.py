"""Public data sets: what they hold, and where their authors published the files."""

import datetime
from pathlib import Path, PurePath
from typing import Literal

from pydantic import Field

from tensornet_jax.config import Config, load_config

REGISTRY = Path(__file__).with_suffix(".yaml")
# Where `tensornet-jax fetch` puts data sets, and where the files in configs/ look for them.
FOLDER = PurePath("data")

Layout = Literal["mlearn", "matten_shielding", "matminer_elasticity"]


class PublishedFile(Config):
    """One file of a data set."""

    path: str = Field(pattern=r"^\w[\w.-]*$", description="what it is called in the folder")
    url: str = Field(pattern="^https://", description="where it is published")
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="of the published file, where that was at hand",
    )
    member: str | None = Field(default=None, description="file to take out of a .tar.gz")
    layout: Layout | None = Field(default=None, description="what it is rewritten from")
    structures: int | None = Field(default=None, description="how many a rewritten file has")
    atoms: int | None = Field(default=None, description="how many atoms these have together")

    @property
    def download_name(self) -> str:
        """What the published file is called."""
        return self.url.rpartition("/")[2]


class PublishedDataset(Config):
    """Files that belong together."""

    name: str = Field(pattern=r"^\w+$", description="its folder")
    about: str = Field(description="what it holds")
    license: str | None = Field(default=None, description="SPDX identifier, where it is stated")
    page: str = Field(pattern="^https://", description="who publishes it")
    reference: str | None = Field(default=None, description="what to cite")
    files: tuple[PublishedFile, ...] = Field(min_length=1)


class Registry(Config):
    """All of them, and the day the list was made."""

    checked: datetime.date
    datasets: tuple[PublishedDataset, ...]

    def named(self, name: str) -> PublishedDataset:
        """Return one by its name; ValueError if there is none."""
        for dataset in self.datasets:
            if dataset.name == name.lower():
                return dataset
        known = ", ".join(dataset.name for dataset in self.datasets)
        raise ValueError(f"there is no data set {name!r} to fetch; there are {known}")


def load_registry() -> Registry:
    """Return the list that comes with the package; nothing is downloaded."""
    return load_config(REGISTRY, Registry)


def how_to_fetch(path: PurePath) -> str | None:
    """Return the command that makes a missing file, None if it is none that can be fetched.

    Args:
        path: e.g. `data/3bpa/train_300K.xyz`; only a file in a folder named after its data set
            is taken for one of it.
    """
    folder, name = path.parent, path.name
    for dataset in load_registry().datasets:
        if dataset.name == folder.name and name in {file.path for file in dataset.files}:
            elsewhere = "" if folder == FOLDER / dataset.name else f" {folder}"
            return f"tensornet-jax fetch {dataset.name}{elsewhere}"
    return None
