"""One HTML file with everything in it: tables, text, and the data that its script draws."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path

from tensornet_jax.runtime.whole_files import write_whole
from tensornet_jax.train.evaluation.kinds import kind_cells
from tensornet_jax.train.evaluation.metrics import ErrorRow, error_cells
from tensornet_jax.train.evaluation.reliability import reliability_cells
from tensornet_jax.train.reporting.html.panels import Json
from tensornet_jax.train.reporting.reliability_plot import Reliability

ASSETS = files("tensornet_jax.train.reporting.html") / "assets"
# Columns of an error table that sort as numbers.
NUMERIC = frozenset(
    {
        *("labels", "MAE", "RMSE", "MAE before", "MAE now", "RMSE before", "RMSE now"),
        *(
            "sharpness",
            "rank correlation",
            "miscalibration area",
            "within σ",
            "within 1.96 σ",
            "NLL",
        ),
        *("structures", "median of the largest", "AUC"),
    }
)
ABOUT_DEVIATIONS = (
    "Standard deviations as predicted, beside the errors that were made. Above, groups of errors "
    "over the deviations predicted for them; below, shares of errors within an interval over those "
    "expected."
)
ABOUT_KINDS = (
    "Structures by the standard deviation of the energy per atom, by the largest of an atom's "
    "energy, and of a component of a force. AUC: how likely it is larger in a structure of this "
    "kind than in one of the others; 0.5 where the kind makes no difference, 1 where a limit tells "
    "them apart. Forces of perfect crystals, and their deviations, vanish under any strain: look "
    "at energies there."
)


@dataclass(frozen=True)
class Drawings:
    """What the script of a page draws.

    Attributes:
        panels: parity and errors, one for each set and property.
        worst: structures with large errors.
        curves: rows of the logs, `train` and `validation`, and `best`, an epoch or None.
        reliability: of each set whose standard deviations were predicted.
    """

    panels: list[Json] = field(default_factory=list)
    worst: list[Json] = field(default_factory=list)
    curves: Json | None = None
    reliability: list[Reliability] = field(default_factory=list)


class Page:
    """Collects sections and writes them as one file.

    Args:
        title: of the page, e.g. the name of a run.
    """

    def __init__(self, title: str):
        self._title = title
        self._sections: list[tuple[str, str]] = []
        self._data: Json = {}

    def section(self, title: str, *content: str) -> None:
        """Add a section of HTML."""
        self._sections.append((title, "\n".join(content)))

    def errors(self, title: str, rows: Sequence[ErrorRow], *about: str) -> None:
        """Add a table of errors, as the Markdown report has it."""
        header, *cells = error_cells(rows)
        self.section(title, *(f"<p>{escape(text)}</p>" for text in about), table(header, cells))

    def facts(self, title: str, facts: Mapping[str, object]) -> None:
        """Add a table of names and values."""
        lines = [
            f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in facts.items()
        ]
        self.section(title, '<div class="wide"><table>', *lines, "</table></div>")

    def drawings(self, drawn: Drawings) -> None:
        """Add parity plots, histograms, structures and learning curves, as far as there are any."""
        self._data |= {"panels": drawn.panels, "worst": drawn.worst, "curves": drawn.curves}
        if drawn.panels:
            self.section("Predictions and errors", '<div id="panels"></div>')
        if drawn.worst:
            self.section("Largest errors", '<div id="worst"></div>')
        if drawn.reliability:
            self._reliability(drawn.reliability)
        if drawn.curves:
            self.section("Learning curves", '<div id="curves"></div>')

    def _reliability(self, found: Sequence[Reliability]) -> None:
        header, *lines = reliability_cells(row for each in found for row in each.rows)
        content = [f"<p>{escape(ABOUT_DEVIATIONS)}</p>", table(header, lines)]
        content += [_image(f"{each.name}: errors and deviations", each.picture) for each in found]
        by_kind = [each for each in found if each.kinds]
        if by_kind:
            header, *lines = kind_cells(kind for each in by_kind for kind in each.kinds)
            content += [f"<p>{escape(ABOUT_KINDS)}</p>", table(header, lines)]
            content += [
                _image(f"{each.name}: certainty by config_type", each.kinds_picture)
                for each in by_kind
            ]
        self.section("How sure it is", *content)

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        write_whole(path, self.text())

    def text(self) -> str:
        """Return the page."""
        links = [
            f'<a href="#s{k}">{escape(title)}</a>' for k, (title, _) in enumerate(self._sections)
        ]
        body = [
            f'<section id="s{k}"><h2>{escape(title)}</h2>\n{content}</section>'
            for k, (title, content) in enumerate(self._sections)
        ]
        viewer = ""
        if self._data.get("worst"):
            told = escape(_asset("3Dmol.LICENSE"))
            viewer = (
                "<details><summary>Licenses of 3Dmol.js, which draws the structures</summary>"
                f"<pre>{told}</pre></details>\n<script>{_asset('3Dmol-min.js')}</script>"
            )
        return "\n".join(
            [
                "<!DOCTYPE html>",
                '<html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self._title)}</title>",
                f"<style>{_asset('report.css')}</style></head><body>",
                f"<header><h1>{escape(self._title)}</h1><nav>{' '.join(links)}</nav></header>",
                *body,
                f'<script type="application/json" id="data">{_json(self._data)}</script>',
                viewer,
                f"<script>{_asset('report.js')}</script>",
                "</body></html>",
                "",
            ]
        )


def _image(told: str, picture: bytes) -> str:
    source = base64.b64encode(picture).decode("ascii")
    return f'<img alt="{escape(told, quote=True)}" src="data:image/png;base64,{source}">'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that the page's script sorts by a click on a column."""
    numeric = [name in NUMERIC for name in header]
    kinds = [' class="number"' if each else "" for each in numeric]
    head = "".join(f"<th{kind}>{escape(n)}</th>" for n, kind in zip(header, kinds, strict=True))
    lines = [
        "".join(f"<td{kind}>{escape(c)}</td>" for c, kind in zip(row, kinds, strict=True))
        for row in rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def text_block(lines: Sequence[str]) -> str:
    """Return lines of plain text as they are."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    """Return JSON that can stand in a script element."""
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _finite(data: object) -> object:
    """Return data with None for numbers that JSON has not."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
