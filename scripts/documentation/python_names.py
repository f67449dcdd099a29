"""The page of the names in Python: those that README and the pages tell readers to import."""

import ast
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from scripts.documentation.markdown import heading

_PYTHON = re.compile(r"^(?P<indent> *)```python\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
PACKAGE = "tensornet_jax"


def imported(pages: Iterable[Path]) -> dict[str, list[str]]:
    """Return what the pages' blocks of Python import from the package, by module."""
    found: dict[str, set[str]] = defaultdict(set)
    for page in pages:
        for block in _PYTHON.finditer(page.read_text(encoding="utf-8")):
            for node in ast.walk(ast.parse(textwrap.dedent(block["text"]))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                    found[node.module or ""] |= {alias.name for alias in node.names}
    return {module: sorted(found[module]) for module in sorted(found)}


def python_page(root: Path) -> str:
    """Return Markdown that mkdocstrings fills with signatures and docstrings."""
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    lines = [
        "# Python",
        "",
        "What the pages of this documentation import, module by module. Arrays have their shapes "
        "in the signatures and their units in the text.",
        "",
    ]
    told: set[str] = set()
    for module, names in imported(pages).items():
        new = [name for name in names if name not in told or module != f"{PACKAGE}.calculator"]
        told |= set(names)
        if new:
            lines += [heading(2, f"`{module}`"), ""]
        for name in new:
            lines += [f"::: {_place(root, module, name)}", ""]
    return "\n".join(lines)


def _place(root: Path, module: str, name: str) -> str:
    """Return the dotted name of an object, also where a file is called what is in it."""
    file = root.joinpath(*module.split("."), f"{name}.py")
    return f"{module}.{name}.{name}" if file.exists() else f"{module}.{name}"
