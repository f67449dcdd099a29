"""Hooks of mkdocs: pages made of the package, and pages of the repository outside `docs/`."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts.documentation.commands import commands_page
from scripts.documentation.house import house_svg
from scripts.documentation.notebooks import pages_of
from scripts.documentation.python_names import python_page
from scripts.documentation.settings import settings_page

ROOT = Path(__file__).resolve().parents[2]
# What pages link to outside docs/, and what of it is in the site, under its path in the repository.
OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md",
    "benchmarks/README.md",
    "benchmarks/results/**/README.md",
    "benchmarks/results/**/*.png",
    "configs/*.yaml",
)
_LINK = re.compile(r"(\]\()([^)\s:#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and those that lie elsewhere in the repository."""
    made: dict[str, str | bytes] = {
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/python.md": python_page(ROOT),
        "house.svg": house_svg(ROOT),
    }
    for notebook in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        made |= pages_of(notebook, "tutorials")
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    for path in outside():
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def outside() -> list[Path]:
    """Return the files of the repository that the site has besides docs/."""
    return sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between the repository's files lead to where the site has them."""
    if page.file.src_uri == "tutorials/README.md":
        markdown = markdown.replace(".ipynb)", ".md)")  # the pages that notebooks become
    return _LINK.sub(lambda match: match[1] + _moved(match[2], page.file) + match[3], markdown)


def _moved(target: str, file: File) -> str:
    """Return a link of the repository as one of the site, where docs/ is the top."""
    if target.startswith(("/", "http", "mailto")):
        return target
    elsewhere = (ROOT / file.src_uri).exists()
    here = posixpath.dirname(file.src_uri if elsewhere else f"docs/{file.src_uri}")
    meant = posixpath.normpath(posixpath.join(here, target))
    if meant.startswith("../"):
        return target
    if (ROOT / meant).is_dir():
        meant = posixpath.join(meant, "README.md")
    in_site = meant.removeprefix("docs/")
    return posixpath.relpath(in_site, posixpath.dirname(file.src_uri) or ".")
