"""Notebooks of docs/tutorials as pages, with what their cells have printed and drawn."""

from collections.abc import Iterator
from pathlib import Path

from nbconvert import MarkdownExporter

# How the first line of a cell that is no Python begins, and what it is.
_OTHERS = {"%%bash": "bash", "%%writefile in.lammps": "lammps", "%%writefile": "yaml"}


def pages_of(notebook: Path, folder: str) -> Iterator[tuple[str, str | bytes]]:
    """Return the files of the site that a notebook becomes: a page, and its pictures.

    Args:
        notebook: its file.
        folder: of the site, where the notebook itself lies too.
    """
    pictures = f"{notebook.stem}_files"
    exporter = MarkdownExporter()
    text, resources = exporter.from_filename(
        str(notebook), resources={"output_files_dir": pictures}
    )
    note = f"Download this page as a notebook: [{notebook.name}]({notebook.name})."
    yield f"{folder}/{notebook.stem}.md", f"{_with_languages(text)}\n\n---\n\n{note}\n"
    for name, content in resources["outputs"].items():
        yield f"{folder}/{name}", content


def _with_languages(text: str) -> str:
    """Say what the cells are that are no Python, and leave out what makes them so."""
    for magic, language in _OTHERS.items():
        head = f"```python\n{magic}"
        while head in text:
            before, _, after = text.partition(head)
            rest, _, body = after.partition("\n")
            title = f' title="{rest.split()[-1]}"' if language == "yaml" else ""
            text = f"{before}```{language}{title}\n{body}"
    return text
