"""The rules of the house: nothing is too long to be read at once, and types are named."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tensornet_jax", "tests", "benchmarks", "scripts")
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_CLASS, MOST_LINES_OF_A_FUNCTION = 350, 200, 60
MOST_USES_OF_ANY = 60


def too_long(text: str) -> Iterator[str]:
    """Yield what of a module is longer than it may be, and how long it is; docstrings count."""
    lines = len(text.splitlines())
    if lines > MOST_LINES_OF_A_FILE:
        yield f"the file has {lines} lines, more than {MOST_LINES_OF_A_FILE}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            most = MOST_LINES_OF_A_CLASS
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            most = MOST_LINES_OF_A_FUNCTION
        else:
            continue
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        if lines > most:
            yield f"{node.name} in line {node.lineno} has {lines} lines, more than {most}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_too_long_to_be_read_at_once(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in paths
        for what in too_long(path.read_text(encoding="utf-8"))
    ]
    assert not found, "split along an idea:\n" + "\n".join(found)


def test_what_a_value_is_is_mostly_known():
    uses = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tensornet_jax").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]
    assert 0 < len(uses) <= MOST_USES_OF_ANY, "name what it is:\n" + "\n".join(uses)


@pytest.mark.parametrize(
    ("head", "most"),
    [
        ("class Long:\n", MOST_LINES_OF_A_CLASS),
        ("def long():\n", MOST_LINES_OF_A_FUNCTION),
        ("async def long():\n", MOST_LINES_OF_A_FUNCTION),
        ("", MOST_LINES_OF_A_FILE),
    ],
)
def test_one_line_too_many_is_found(head, most):
    line = "    x = 1\n" if head else "x = 1\n"
    lines = most - len(head.splitlines())
    assert not list(too_long(head + line * lines))
    assert len(list(too_long(head + line * (lines + 1)))) == 1
