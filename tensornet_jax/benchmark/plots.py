"""The figures of arXiv:2506.13523 with our own numbers: time, and time per expressivity, against L.

A line is a family in its fastest variant at each L; the variants stand apart in a figure of their
own. Ours are solid, peers dashed, and a peer's line has the color of the family it computes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from tensornet_jax.benchmark.cases import REGIMES, Case
from tensornet_jax.benchmark.contenders import OURS
from tensornet_jax.benchmark.records import DIRECTIONS, Direction, Record, Results
from tensornet_jax.benchmark.series import TITLES, baseline, measured, seconds_of, series_of

INK = "#22272e"
GRAY = "#8b949e"
COLORS = {
    "clebsch_gordan": "#1f5fa8",
    "gaunt_grid": "#d1681c",
    "gaunt_fourier": "#c9a227",
    "matrix": "#2b8a5b",
    "vector_signal": "#8a4fae",
}
PEERS: dict[str, tuple[str, str]] = {
    "e3nn_jax.tensor_product": (INK, "s"),
    "e3nn_jax.s2grid": (COLORS["gaunt_grid"], "s"),
    "cuequivariance": ("#5a9bd8", "^"),
    "e3j": ("#86b6e4", "v"),
    "e3x.Tensor": ("#5d6b7a", "D"),
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
Value = Callable[[Record], float | None]


def write_figures(folder: Path, results: Results) -> list[str]:
    """Draw every figure that the results have numbers for, and return the names of the files.

    Args:
        folder: where PNG files go.
        results: of a run.
    """
    names = []
    series = series_of(results)
    for point in dict.fromkeys(point for _, point in series):
        columns = {r: series[r, point] for r in REGIMES if (r, point) in series}
        slug = _slug(next(iter(columns.values()))[0])
        figures = {
            f"time_{slug}.png": (_milliseconds, "time (ms)", "Time of one call"),
            f"time_per_expressivity_{slug}.png": (
                lambda record: _per_expressivity(results, record),
                "time / dimension (ms)",
                "Time per dimension of the maps that weights can realize",
            ),
            f"against_e3nn_{slug}.png": (
                lambda record: _ratio(results, record),
                "times as fast",
                "Against the faster of e3nn-jax's two forms",
            ),
        }
        for name, (value, label, title) in figures.items():
            if _draw(folder / name, f"{title}: {point}", label, columns, results, value):
                names.append(name)
        name = f"variants_{slug}.png"
        if _draw_variants(folder / name, f"Variants: {point}", columns, results):
            names.append(name)
    return names


def _slug(case: Case) -> str:
    slug = f"batch{case.batch}_channels{case.channels}_{case.dtype}"
    return slug + "_to2L" * case.full_output


def _milliseconds(record: Record) -> float:
    return 1e3 * seconds_of(record)


def _per_expressivity(results: Results, record: Record) -> float | None:
    dimension = results.expressivity.get(record.path_list or "")
    return _milliseconds(record) / dimension if dimension else None


def _ratio(results: Results, record: Record) -> float | None:
    peer = baseline(measured(results.records, record.case, record.direction))
    return None if peer is None else seconds_of(peer) / seconds_of(record)


def _family(record: Record) -> str:
    return record.contender.partition(":")[0]


def _style(name: str) -> dict[str, object]:
    if name in COLORS:
        return {"color": COLORS[name], "marker": "o", "linestyle": "-", "linewidth": 1.7}
    color, marker = PEERS.get(name, (GRAY, "x"))
    return {"color": color, "marker": marker, "linestyle": "--", "linewidth": 1.1}


def _draw(
    path: Path,
    title: str,
    label: str,
    columns: dict[str, list[Case]],
    results: Results,
    value: Value,
) -> bool:
    """Draw directions as rows and regimes as columns; return False where there is nothing."""
    figure, panels = _panels(columns)
    drawn: dict[str, Line2D] = {}
    for (direction, regime), axes in panels.items():
        cases = columns[regime]
        for name, points in _families(results, cases, direction, value).items():
            style = _style(name)
            [line] = axes.plot(
                *zip(*points, strict=True),
                markersize=3.8,
                label=name,
                **style,  # pyright: ignore[reportArgumentType]
            )
            drawn.setdefault(name, line)
        if label == "times as fast":
            axes.axhline(1, color=INK, linewidth=0.8)
    if not drawn:
        return False
    order = [*COLORS, *PEERS]
    names = sorted(drawn, key=lambda name: order.index(name) if name in order else len(order))
    lines = {name: drawn[name] for name in names}
    _finish(figure, panels, columns, lines, title, label)
    figure.savefig(path, dpi=160)
    return True


def _families(
    results: Results, cases: Sequence[Case], direction: Direction, value: Value
) -> dict[str, list[tuple[int, float]]]:
    """Name of a family → (L, value of its fastest variant)."""
    found: dict[str, list[tuple[int, float]]] = {}
    for case in cases:
        fastest: dict[str, Record] = {}
        for record in measured(results.records, case, direction):
            best = fastest.setdefault(_family(record), record)
            if seconds_of(record) < seconds_of(best):
                fastest[_family(record)] = record
        for name, record in fastest.items():
            number = value(record)
            if number is not None:
                found.setdefault(name, []).append((case.l_max, number))
    return found


def _draw_variants(
    path: Path, title: str, columns: dict[str, list[Case]], results: Results
) -> bool:
    figure, panels = _panels(columns)
    drawn: dict[str, Line2D] = {}
    for (direction, regime), axes in panels.items():
        for name in dict.fromkeys(r.contender for r in results.records if r.library == OURS):
            points = [
                (case.l_max, _milliseconds(record))
                for case in columns[regime]
                for record in measured(results.records, case, direction)
                if record.contender == name
            ]
            family, colon, variant = name.partition(":")
            # what `auto` chooses is one of the others
            if not points or not colon or variant == "auto":
                continue
            if name not in drawn:
                same = sum(other.partition(":")[0] == family for other in drawn)
                marker = MARKERS[same % len(MARKERS)]
            else:
                marker = str(drawn[name].get_marker())
            [line] = axes.plot(
                *zip(*points, strict=True),
                color=COLORS.get(family, GRAY),
                marker=marker,
                markersize=4,
                linewidth=1.2,
                linestyle=("-", "--", ":", "-.")[MARKERS.index(marker) % 4],
                label=name,
            )
            drawn.setdefault(name, line)
    if not drawn:
        return False
    _finish(figure, panels, columns, drawn, title, "time (ms)")
    figure.savefig(path, dpi=160)
    return True


def _panels(
    columns: dict[str, list[Case]],
) -> tuple[Figure, dict[tuple[Direction, str], Axes]]:
    count = len(columns)
    figure = Figure(figsize=(3.1 * count + 2.6, 6.2), layout="constrained")
    panels: dict[tuple[Direction, str], Axes] = {}
    for row, direction in enumerate(DIRECTIONS):
        for column, regime in enumerate(columns):
            axes = figure.add_subplot(2, count, row * count + column + 1)
            axes.set_title(f"{regime.upper()}, {TITLES[direction]}", fontsize=10, color=INK)
            panels[direction, regime] = axes
    return figure, panels


def _finish(
    figure: Figure,
    panels: dict[tuple[Direction, str], Axes],
    columns: dict[str, list[Case]],
    lines: dict[str, Line2D],
    title: str,
    label: str,
) -> None:
    first = next(iter(columns))
    for (direction, regime), axes in panels.items():
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 2e2 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(FixedLocator([case.l_max for case in columns[regime]]))
        if direction == DIRECTIONS[-1]:
            axes.set_xlabel("L", fontsize=9)
        if regime == first:
            axes.set_ylabel(label, fontsize=9)
        axes.grid(True, which="major", color="#e5e8eb", linewidth=0.6)
        _tidy(axes)
    figure.legend(
        handles=list(lines.values()),
        labels=list(lines),
        loc="outside right upper",
        fontsize=8,
        frameon=False,
        handlelength=3.2,
    )
    figure.suptitle(title, color=INK, fontsize=12)


def _tidy(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(which="both", labelsize=8, labelcolor=INK, color=GRAY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRAY)
