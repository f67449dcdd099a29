"""`tensornet-jax fetch`: public data sets, from where their authors published them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensornet_jax.data.published.datasets import PublishedDataset


def fetch(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Data set to fetch.", show_default="list all"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Where to.", show_default="data/NAME"),
    ] = None,
    downloads: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="Folder with the published files, downloaded by other means.",
            show_default="download them",
        ),
    ] = None,
) -> None:
    """Fetch a public data set that the files in configs/ read, and check it.

    Files that are there already stay as they are.
    """
    from tensornet_jax.data.published.datasets import FOLDER, load_registry
    from tensornet_jax.data.published.download import fetch_file

    registry = load_registry()
    if name is None:
        for line in (line for dataset in registry.datasets for line in _description(dataset)):
            typer.echo(line)
        typer.echo(f"One of them: tensornet-jax fetch NAME (as of {registry.checked})")
        return
    dataset = registry.named(name)
    for line in _description(dataset):
        typer.echo(line)
    for file in dataset.files:
        fetched = fetch_file(file, folder or Path(FOLDER / dataset.name), downloads=downloads)
        if fetched.sha256 is None:
            remark = "was there" + (", checksum right" if fetched.verified else "")
        elif fetched.verified:
            remark = "checksum right"
        else:
            remark = f"published without a checksum; sha256 of the download {fetched.sha256}"
        typer.echo(f"{fetched.path}: {remark}")


def _description(dataset: "PublishedDataset") -> list[str]:
    facts = {
        "files": ", ".join(file.path for file in dataset.files),
        "license": dataset.license or "not stated by the publisher: ask before you redistribute",
        "from": dataset.page,
        "to cite": dataset.reference,
    }
    lines = [f"  {key:<9} {value}" for key, value in facts.items() if value]
    return [f"{dataset.name}: {dataset.about}", *lines, ""]
