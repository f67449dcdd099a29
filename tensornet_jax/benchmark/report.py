"""Results in words: tables, which product is fastest, and a page in Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tensornet_jax.benchmark.cases import Case
from tensornet_jax.benchmark.contenders import OURS
from tensornet_jax.benchmark.records import DIRECTIONS, Direction, Record, Results
from tensornet_jax.benchmark.series import (
    TITLES,
    baseline,
    cases_of,
    measured,
    seconds_of,
    series_of,
)
from tensornet_jax.runtime.markdown import markdown_table


def time_table(results: Results, cases: Sequence[Case], direction: Direction) -> list[list[str]]:
    """Return rows of text: a contender and its medians in ms, one column a case.

    Args:
        results: of a run.
        cases: columns.
        direction: forward or forward_backward.
    """
    by_name: dict[str, dict[Case, Record]] = {}
    for case in cases:
        for record in measured(results.records, case, direction):
            by_name.setdefault(record.contender, {})[case] = record
    rows = [["ms", *(f"L={case.l_max}" for case in cases)]]
    for name, found in by_name.items():
        times = [_milliseconds(found[case]) if case in found else "-" for case in cases]
        rows.append([name, *times])
    return rows


def ratio_table(results: Results, cases: Sequence[Case], direction: Direction) -> list[list[str]]:
    """Return rows of text: how many times faster than e3nn-jax's tensor product."""
    rows = [["times as fast", *(f"L={case.l_max}" for case in cases)]]
    names = dict.fromkeys(r.contender for r in measured(results.records) if r.library == OURS)
    for name in names:
        row = [name]
        for case in cases:
            found = measured(results.records, case, direction)
            own = next((r for r in found if r.contender == name), None)
            peer = baseline(found)
            if own is None or peer is None:
                row.append("-")
            else:
                row.append(f"{seconds_of(peer) / seconds_of(own):.2f}")
        if set(row[1:]) != {"-"}:
            rows.append(row)
    return rows if len(rows) > 1 else []


def _milliseconds(record: Record) -> str:
    return f"{1e3 * seconds_of(record):#.3g}".rstrip(".")


def render(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns."""
    if not rows:
        return []
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def fastest_lines(results: Results) -> list[str]:
    """Return, for every case, which of our products is fastest, with all paths and with fewer."""
    lines = []
    for case in cases_of(results):
        found = measured(results.records, case, "forward_backward")
        own = [record for record in found if record.library == OURS]
        if not own:
            continue
        lines.append(f"{case.regime} L = {case.l_max}, {case.point}, forward + backward:")
        all_paths = len(case.triangles)
        complete = [record for record in own if record.num_paths == all_paths]
        first = min(own, key=seconds_of)
        peer = min((r for r in found if r.library != OURS), key=seconds_of, default=None)
        if complete:
            lines.append(_line("every path", min(complete, key=seconds_of), all_paths))
        if first not in complete:
            lines.append(_line("fewer paths", first, all_paths))
        if peer is not None:
            lines.append(_line("fastest peer", peer, all_paths))
        reference = baseline(found)
        if reference is not None and reference is not peer:
            lines.append(_line("e3nn-jax", reference, all_paths))
    return lines


def _line(label: str, record: Record, all_paths: int) -> str:
    low, high = (1e3 * (v or 0.0) for v in (record.lower_quartile_s, record.upper_quartile_s))
    return (
        f"  {label:<13}{record.contender:<32} {_milliseconds(record):>7} ms "
        f"({low:.3g} … {high:.3g})  {record.num_paths} of {all_paths} paths"
    )


def markdown(results: Results, figures: Sequence[str] = ()) -> str:
    """Return a page with machine, tables, figures and what was skipped.

    Args:
        results: of a run.
        figures: names of PNG files beside the page.
    """
    page = [
        "# Tensor products",
        "",
        "Medians of many calls in ms, compile time excluded, contenders timed in turn; quartiles,",
        "paths, output sizes, FLOPs, bytes and fractions of peak are in `results.json`. Forward +",
        "backward: the output and the gradients with respect to both inputs.",
        "",
        *_machine_lines(results),
        "",
        *(f"![{name}]({name})\n" for name in figures),
    ]
    for (regime, point), cases in series_of(results).items():
        for direction in DIRECTIONS:
            rows = time_table(results, cases, direction)
            if len(rows) > 1:
                page += [f"## {regime}, {TITLES[direction]}, {point}", "", *_times(rows)]
                ratios = ratio_table(results, cases, direction)
                if ratios:
                    page += [
                        "",
                        "Against the faster of e3nn-jax's two forms (paths apart or summed):",
                        "",
                        *_times(ratios),
                    ]
                page.append("")
    page += ["## Fastest", "", "```text", *fastest_lines(results), "```", ""]
    skipped = _skipped_lines(results)
    if skipped:
        page += ["## Not measured", "", *skipped, ""]
    return "\n".join(page)


def write_results(folder: Path, results: Results) -> list[Path]:
    """Write results.json, figures and README.md, and return their paths.

    Args:
        folder: created when missing.
        results: of a run.
    """
    from tensornet_jax.benchmark.plots import write_figures

    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "results.json", folder / "README.md"
    data.write_text(_compact_json(results), encoding="utf-8")
    figures = write_figures(folder, results)
    page.write_text(markdown(results, figures), encoding="utf-8")
    return [data, page, *(folder / name for name in figures)]


def _compact_json(results: Results) -> str:
    """One line a record, so that a change of the results can be read in a diff."""
    content = results.to_json()
    short = {name: value for name, value in content.items() if name not in ("records", "paths")}
    head = json.dumps(short, indent=1, ensure_ascii=False).removesuffix("\n}")
    records = ",\n".join("  " + json.dumps(asdict(r), ensure_ascii=False) for r in results.records)
    paths = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in results.paths.items())
    return f'{head},\n "paths": {{\n{paths}\n }},\n "records": [\n{records}\n ]\n}}\n'


def _machine_lines(results: Results) -> list[str]:
    machine = results.machine
    load = machine.get("load_average")
    facts: dict[str, str] = {
        "device": f"{machine['device']} ({machine['processor']}), {machine['threads']} threads",
        "load average at the start": "-" if load is None else " ".join(f"{x:.2f}" for x in load),
        "versions": ", ".join(f"{k} {v}" for k, v in results.versions.items() if v is not None),
        "run time": f"{results.seconds / 60:.1f} min",
    }
    for dtype, peaks in results.peaks.items():
        facts[f"peak, {dtype}"] = (
            f"{peaks.gemm_flops_per_s / 1e9:.3g} GFLOP/s in a matrix product, "
            f"{peaks.copy_bytes_per_s / 1e9:.3g} GB/s in a copy; an empty call takes "
            f"{1e6 * peaks.dispatch_s:.3g} µs"
        )
    return markdown_table(("", ""), [*facts.items()])


def _times(rows: Sequence[Sequence[str]]) -> list[str]:
    header, *lines = rows
    return markdown_table(header, lines, numbers=range(1, len(header)))


def _skipped_lines(results: Results) -> list[str]:
    reasons: dict[tuple[str, str], set[str]] = {}
    for record in results.records:
        if record.status == "skipped":
            where = f"{record.regime} L={record.l_max}"
            reasons.setdefault((record.contender, record.reason), set()).add(where)
    return [
        f"- {name}: {reason} ({', '.join(sorted(where))})"
        for (name, reason), where in sorted(reasons.items())
    ]
