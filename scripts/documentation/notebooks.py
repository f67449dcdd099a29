"""Notebooks of docs/tutorials as pages, with what their cells have printed and drawn."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

_LINK = re.compile(r"\[([^\]]+)\]\((?!http)[^)]*\)")
# The first line of a cell that is no Python.
_MAGIC = re.compile(r"```\w*\n%%(bash|writefile)([^\n]*)\n")


def pages_of(notebook: Path, folder: str) -> Iterator[tuple[str, str | bytes]]:
    """Return the files of the site that a notebook becomes: a page, and its pictures.

    Args:
        notebook: its file.
        folder: of the site, where the notebook itself lies too.
    """
    pictures = f"{notebook.stem}_files"
    text, resources = MarkdownExporter().from_notebook_node(
        _without_files_of_the_run(nbformat.read(notebook, as_version=4)),
        resources={"output_files_dir": pictures},
    )
    note = f"Download this page as a notebook: [{notebook.name}]({notebook.name})."
    yield f"{folder}/{notebook.stem}.md", f"{_with_languages(text)}\n\n---\n\n{note}\n"
    for name, content in resources["outputs"].items():
        yield f"{folder}/{name}", content


def _without_files_of_the_run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave the text of links in what was printed: their files lie where the notebook was run."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = _LINK.sub(r"\1", data["text/markdown"])
    return notebook


def _with_languages(text: str) -> str:
    """Say what the cells are that are no Python, and leave out what makes them so."""

    def fence(magic: re.Match[str]) -> str:
        if magic[1] == "bash":
            return "```bash\n"
        name = magic[2].strip()
        return f'```{"lammps" if name.startswith("in.") else "yaml"} title="{name}"\n'

    return _MAGIC.sub(fence, text)
