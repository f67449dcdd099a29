"""Tables in Markdown, which can be read as they are as well."""

from collections.abc import Collection, Iterable, Sequence

WIDEST = 60  # what is longer makes its own line longer, not all


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], numbers: Collection[int] = ()
) -> list[str]:
    """Return the lines of a table whose columns are as wide as what they hold.

    Args:
        header: names of the columns.
        rows: cells, as many as there are columns.
        numbers: columns that are aligned at the right.
    """
    cells = [header, *([str(cell).replace("|", r"\|") for cell in row] for row in rows)]
    widths = [max(3, *(min(len(line[k]), WIDEST) for line in cells)) for k in range(len(header))]
    lines = [_line(line, widths, numbers) for line in cells]
    rule = ["-" * (w - 1) + ":" if k in numbers else "-" * w for k, w in enumerate(widths)]
    return [lines[0], _joined(rule), *lines[1:]]


def _line(cells: Sequence[str], widths: Sequence[int], numbers: Collection[int]) -> str:
    return _joined(
        cell.rjust(width) if k in numbers else cell.ljust(width)
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def _joined(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
