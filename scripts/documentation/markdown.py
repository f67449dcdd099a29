"""Small pieces of Markdown."""

from collections.abc import Sequence


def heading(level: int, text: str, anchor: str = "") -> str:
    """Return a heading, with an anchor of its own where one is given."""
    return f"{'#' * level} {text}" + (f" {{ #{anchor} }}" if anchor else "")


def cell(text: str) -> str:
    """Return text that can stand in a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; columns without any content are left out."""
    kept = [k for k in range(len(header)) if any(row[k] for row in rows)]
    lines = [[header[k] for k in kept], ["---"] * len(kept), *([r[k] for k in kept] for r in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
