"""Tables and a picture of what `benchmarks/md.py` has measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torchmdnet_peer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Record: TypeAlias = dict[str, Any]
"""What was measured of one case, as JSON has it."""
Results: TypeAlias = dict[str, Any]
"""Machine, versions and records, as `results_file` has them."""

AS_TRAINED, COMPRESSED = "as trained", "compressed"


def pick(records: Sequence[Record], **case: str | int) -> dict[str, Record]:
    """Return the records of a case by name."""
    return {r["name"]: r for r in records if all(r[key] == value for key, value in case.items())}


def layers_of(records: Sequence[Record], part: str) -> list[int]:
    """Return the numbers of layers that were measured in a part of the benchmark."""
    return sorted({r["layers"] for r in records if r["part"] == part})


def report(results: Results, heading: str) -> str:
    """Return rates and ratios as Markdown."""
    records = results["records"]
    lines = ["# Molecular dynamics of TensorNet", "", heading, "", "![rates](md.png)"]
    lines += _against_peer(records)
    for layers in layers_of(records, "engine"):
        lines += _of_systems(records, layers)
    for layers in layers_of(records, "replicas"):
        lines += _of_replicas(records, layers)
    return "\n".join(lines) + "\n"


def _against_peer(records: Sequence[Record]) -> list[str]:
    depths = layers_of(records, "ase")
    if not depths:
        return []
    peers = [f"torchmd-net, {mode}" for mode in torchmdnet_peer.CALCULATORS]
    ours = {
        "ASE, 100 elements": "100 elements",
        f"ASE, {AS_TRAINED}": "own elements",
        f"ASE, {COMPRESSED}": COMPRESSED,
    }
    lines = [
        "",
        "## Ethanol through ASE, against torchmd-net's calculator",
        "",
        "Steps/s. torchmd-net's `TMDNETCalculator`: Warp kernels or plain torch, as it is "
        "or with its option `compile`. Ratio: ours over the fastest of these.",
        "",
        "| layers | "
        + " | ".join(torchmdnet_peer.CALCULATORS)
        + "".join(f" | {label} | ratio" for label in ours.values())
        + " | ns/day |",
        "|---:|" + "---:|" * (len(peers) + 2 * len(ours) + 1),
    ]
    for layers in depths:
        own = pick(records, part="ase", layers=layers)
        fastest = max(own[name]["steps_per_s"] for name in peers)
        cells = [f"{own[name]['steps_per_s']:.1f}" for name in peers]
        for name in ours:
            rate = own[name]["steps_per_s"]
            cells += [f"{rate:.1f}", f"**{rate / fastest:.2f}**"]
        cells.append(f"{own[f'ASE, {COMPRESSED}']['ns_per_day']:.2f}")
        lines.append(f"| {layers} | {' | '.join(cells)} |")
    return lines


def _of_systems(records: Sequence[Record], layers: int) -> list[str]:
    lines = [
        "",
        f"## On the device against ASE, {layers} layers",
        "",
        "Steps/s.",
        "",
        "| system | atoms | ASE | device | ratio | ASE, compressed | device, compressed "
        "| ratio | atoms·steps/s | ns/day |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    of_layers = [r for r in records if r["part"] == "engine" and r["layers"] == layers]
    systems = {r["system"]: r["atoms"] for r in of_layers}
    for system, atoms in sorted(systems.items(), key=lambda item: item[1]):
        own = pick(of_layers, system=system)
        cells = []
        for kind in (AS_TRAINED, COMPRESSED):
            both = [own[f"{way}, {kind}"]["steps_per_s"] for way in ("ASE", "device")]
            cells += [*(f"{rate:.1f}" for rate in both), f"{both[1] / both[0]:.2f}"]
        best = own[f"device, {COMPRESSED}"]
        cells += [f"{best['atom_steps_per_s']:,.0f}", f"{best['ns_per_day']:.2f}"]
        lines.append(f"| {system} | {atoms} | {' | '.join(cells)} |")
    return lines


def _of_replicas(records: Sequence[Record], layers: int) -> list[str]:
    lines = [
        "",
        f"## Replicas of ethanol on the device, {layers} layers",
        "",
        "Steps/s and ns/day of all replicas together.",
        "",
        "| replicas | as trained | ns/day | compressed | ns/day | gain over one |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    of_layers = [r for r in records if r["part"] == "replicas" and r["layers"] == layers]
    counts = sorted({r["replicas"] for r in of_layers})
    alone = pick(of_layers, replicas=counts[0])[f"device, {COMPRESSED}"]["steps_per_s"]
    for count in counts:
        own = pick(of_layers, replicas=count)
        cells = []
        for kind in (AS_TRAINED, COMPRESSED):
            r = own[f"device, {kind}"]
            cells += [f"{r['steps_per_s']:,.0f}", f"{r['ns_per_day']:.1f}"]
        gain = own[f"device, {COMPRESSED}"]["steps_per_s"] / alone
        lines.append(f"| {count:,} | {' | '.join(cells)} | {gain:.2f} |")
    return lines


def plot(results: Results, path: Path) -> None:
    """Draw the rate against atoms, and against replicas, for the most layers there are."""
    records = results["records"]
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, part, key in ((left, "engine", "atoms"), (right, "replicas", "replicas")):
        of_part = [r for r in records if r["part"] == part]
        layers = max((r["layers"] for r in of_part), default=0)
        for name in dict.fromkeys(r["name"] for r in of_part):
            own = [r for r in of_part if (r["name"], r["layers"]) == (name, layers)]
            own = sorted(own, key=lambda r: r[key])
            color = "C0" if AS_TRAINED in name else "C1"
            style = "s--" if name.startswith("ASE") else "o-"
            rates = [r["steps_per_s"] for r in own]
            axes.loglog([r[key] for r in own], rates, style, color=color, label=name)
        axes.set(title=f"{layers} layers", xlabel=key)
        axes.grid(alpha=0.3, which="both")
    layers = max((r["layers"] for r in records if r["part"] == "engine"), default=None)
    peers = [r for r in records if r["part"] == "ase" and r["name"].startswith("torchmd-net")]
    rates = [(r["atoms"], r["steps_per_s"]) for r in peers if r["layers"] == layers]
    if rates:
        left.loglog(*max(rates), "kD", label="ASE, torchmd-net, fastest mode")
    left.set_ylabel("steps/s")
    right.set_ylabel("steps/s of all together")
    left.legend(fontsize=8)
    figure.savefig(path, dpi=150)
