"""What `neighbors.py` measured, as Markdown and as a figure."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from neighbor_contenders import CUTOFF, MAKERS, PEERS, SHAPES
from results_file import machine_line

OURS = ("device", "device in a loop", "host")

Times = dict[str, dict[int, float]]
"""Medians in ms of each contender by the number of atoms."""


def medians(records: Iterable[dict[str, Any]], shape: str) -> Times:
    """Return the medians in ms of each contender by the number of atoms."""
    found: Times = {name: {} for name in MAKERS}
    for record in records:
        if record["shape"] == shape and "median_s" in record:
            found[record["contender"]][record["atoms"]] = 1e3 * record["median_s"]
    return found


def faster_from(times: Times) -> int | None:
    """Return the smallest size from which on the device list beats the host list at every size."""
    threshold = None
    for atoms in sorted(times["device"].keys() & times["host"].keys(), reverse=True):
        if times["device"][atoms] >= times["host"][atoms]:
            break
        threshold = atoms
    return threshold


def report(results: dict[str, Any]) -> str:
    """Return times, the threshold, scaling and memory as Markdown."""
    records = results["records"]
    lines = [*_introduction(results), "", "![times](times.png)"]
    compiling = {
        (record["shape"], record["atoms"]): record["compile_s"] for record in _device_lists(records)
    }
    for shape in SHAPES:
        times = medians(records, shape)
        if any(times.values()):
            lines += _of_shape(shape, times, compiling)
    lines += _memory(records)
    reasons = sorted(
        f"{r['contender']}, {r['shape']}, {r['atoms']:,} atoms: {r['not_timed']}."
        for r in records
        if "not_timed" in r
    )
    if reasons:
        lines += ["", "## Not timed", "", *(f"- {reason}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def _introduction(results: dict[str, Any]) -> list[str]:
    return [
        "# Neighbor lists",
        "",
        f"Cutoff {CUTOFF} Å, 0.1 atoms/Å³ in random order, medians in ms of contenders in turn, on "
        f"{machine_line(results, *PEERS)}. "
        "`device`: `graph/cell_list.py`, float32, with shifts, reverse edges and slots, "
        "capacities with their default headroom. `device in a loop`: one of several lists made in "
        "a compiled loop, as in molecular dynamics, where memory is not handed out anew for every "
        "list. `host`: the same from `graph/neighbors.py`, copied to the device. matscipy and "
        "vesin give edges both ways with shifts, jax-md a table of neighbors without. Every list "
        "was checked to have the same number of edges. The last column: how many lists have to be "
        "made before `device` has saved, against `host`, what compiling it took.",
    ]


def _device_lists(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of the device list that was timed."""
    return [r for r in records if r["contender"] == "device" and "median_s" in r]


def _of_shape(shape: str, times: Times, compiling: dict[tuple[str, int], float]) -> list[str]:
    """Return the times of all sizes of a shape, the threshold and the scaling."""
    lines = [
        "",
        f"## {shape.capitalize()}{', open' if shape == 'cluster' else ', periodic'}",
        "",
        "| atoms | " + " | ".join(MAKERS) + " | matscipy / device | vesin / device "
        "| lists that pay for compiling |",
        "|---:|" + "---:|" * (len(MAKERS) + 3),
    ]
    for atoms in sorted({atoms for each in times.values() for atoms in each}):
        row = [f"{atoms:,}"]
        row += [f"{times[n][atoms]:.3g}" if atoms in times[n] else "" for n in MAKERS]
        for name in ("matscipy", "vesin"):
            both = atoms in times[name] and atoms in times["device"]
            row.append(f"{times[name][atoms] / times['device'][atoms]:.2g}" if both else "")
        saved = times["host"].get(atoms, 0) - times["device"].get(atoms, np.inf)
        row.append(f"{1e3 * compiling[shape, atoms] / saved:,.0f}" if saved > 0 else "")
        lines.append("| " + " | ".join(row) + " |")
    threshold = faster_from(times)
    if threshold is not None:
        lines += ["", f"Once compiled, `device` beats `host` from {threshold} atoms on."]
    in_a_loop = times["device in a loop"]
    large = [atoms for atoms in sorted(in_a_loop) if atoms >= 10_000]
    for low, high in itertools.pairwise(large):
        slope = np.log(in_a_loop[high] / in_a_loop[low]) / np.log(high / low)
        lines += ["", f"In a loop, from {low:,} to {high:,} atoms: N^{slope:.2f}."]
    return lines


def _memory(records: Iterable[dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "## Memory and compiling of the device list",
        "",
        "| atoms | shape | distances tested / atom | bytes / atom: held, temporary | compile, s |",
        "|---:|---|---:|---:|---:|",
    ]
    for record in _device_lists(records):
        atoms = record["atoms"]
        if atoms >= 1000:
            held, temporary = (
                round(record[key] / atoms) for key in ("held_bytes", "temporary_bytes")
            )
            lines.append(
                f"| {atoms:,} | {record['shape']} | {record['candidates'] / atoms:.0f} | "
                f"{held}, {temporary} | {record['compile_s']:.1f} |"
            )
    return lines


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw times against atoms on logarithmic axes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(SHAPES), figsize=(13, 4), sharey=True, layout="constrained"
    )
    for panel, shape in zip(panels, SHAPES, strict=True):
        for name, times in medians(results["records"], shape).items():
            if times:
                sizes = sorted(times)
                style = "o-" if name in OURS else "s--"
                panel.loglog(sizes, [times[n] for n in sizes], style, label=name, markersize=4)
        panel.set_title(f"{shape}{', open' if shape == 'cluster' else ', periodic'}")
        panel.set_xlabel("atoms")
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set_ylabel("time (ms)")
    figure.savefig(path, dpi=150)
    plt.close(figure)
