"""Small pieces of Markdown."""

from collections.abc import Sequence

from tensornet_jax.runtime.markdown import markdown_table


def heading(level: int, text: str, anchor: str = "") -> str:
    """Return a heading, with an anchor of its own where one is given."""
    return f"{'#' * level} {text}" + (f" {{ #{anchor} }}" if anchor else "")


def one_line(text: str) -> str:
    """Return text without its line breaks, as a cell of a table has it."""
    return " ".join(text.split())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; columns without any content are left out."""
    kept = [k for k in range(len(header)) if any(row[k] for row in rows)]
    return markdown_table([header[k] for k in kept], [[row[k] for k in kept] for row in rows])
