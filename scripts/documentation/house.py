"""The picture of the house: rooms of the package on the floors that import-linter checks."""

import ast
import tomllib
from html import escape
from pathlib import Path

PACKAGE = "tensornet_jax"
WIDTH, FLOOR, GAP, MARGIN = 980, 74, 14, 16
TEXT = "font-family='system-ui, sans-serif' text-anchor='middle'"


def floors(root: Path) -> list[list[str]]:
    """Return the rooms of each floor, from the top, as the contract in pyproject.toml has them."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "floors")
    return [layer.replace(":", "|").replace(" ", "").split("|") for layer in layers]


def about(root: Path, room: str) -> str:
    """Return the first sentence of a room's docstring."""
    path = root / PACKAGE / room / "__init__.py"
    path = path if path.exists() else root / PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].replace("`", "").split())


def house_svg(root: Path) -> str:
    """Return the picture: one row of boxes a floor, `cli` on top."""
    plan = floors(root)
    height = len(plan) * (FLOOR + GAP) + 2 * MARGIN
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img'>",
        "<title>Rooms of tensornet_jax by floors; a room imports only from floors below</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='white'/>",
    ]
    for number, rooms in enumerate(plan):
        top = MARGIN + number * (FLOOR + GAP)
        width = (WIDTH - 2 * MARGIN - (len(rooms) - 1) * GAP) / len(rooms)
        for k, room in enumerate(rooms):
            lines += _box(root, room, MARGIN + k * (width + GAP), top, width)
    return "\n".join([*lines, "</svg>"])


def _box(root: Path, room: str, left: float, top: float, width: float) -> list[str]:
    middle = left + width / 2
    told = _wrapped(about(root, room), int(width / 6.3), 2)
    lines = [
        f"<g><title>{escape(about(root, room))}</title>",
        f"<rect x='{left:.1f}' y='{top}' width='{width:.1f}' height='{FLOOR}' rx='6' "
        "fill='#eaf1fb' stroke='#1f5fa8'/>",
        f"<text x='{middle:.1f}' y='{top + 24}' font-size='16' font-weight='600' "
        f"fill='#123a66' {TEXT}>{room}</text>",
    ]
    for k, text in enumerate(told):
        lines.append(
            f"<text x='{middle:.1f}' y='{top + 43 + 15 * k}' font-size='10.5' fill='#444' "
            f"{TEXT}>{escape(text)}</text>"
        )
    return [*lines, "</g>"]


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """Return lines of whole words; what does not fit ends in an ellipsis."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) < width or not lines[-1]:
            lines[-1] = f"{lines[-1]} {word}".strip()
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1].rstrip('.,:;')} …"
            break
    return lines
