"""Tables and a picture of what `benchmarks/gpu_programs.py` has counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .cases import BOXES, FORCES, GRADIENT, NEW_LIST, STRESS, TRAINING, Case, all_cases
from .devices import ATTAINED, DEVICES, GIGABYTE, LAUNCH, LAUNCH_IN_GRAPH

Record: TypeAlias = dict[str, Any]
"""What was counted of one program, as JSON has it."""
Results: TypeAlias = dict[str, Any]
"""Versions and records, as `results_file` has them."""

MEGABYTE, KILOBYTE, MICROSECOND = 1e6, 1e3, 1e-6
# Of memory, GB, in which structures are to fit.
MEMORIES = (24, 80)
PLAIN, BY_HAND = "off", "on"
# Marks programs whose kernels written by hand were calls without code.
PLACEHOLDER = "°"
Column: TypeAlias = tuple[str, Callable[[Record], str]]


@dataclass(frozen=True)
class Memory:
    """How the memory of a program grows with its structure.

    an_atom: bytes.
    fixed: bytes beside, of parameters, tables and the libraries' workspaces.
    """

    an_atom: float
    fixed: float

    def atoms_in(self, gigabytes: float) -> int:
        """Return how large a structure fits."""
        return max(0, int((gigabytes * GIGABYTE - self.fixed) / self.an_atom))


def memory_of(records: Sequence[Record]) -> Memory | None:
    """Return the line through the memory of two sizes of the same liquid; None without two."""
    two = [r for r in records if r["system"] in BOXES]
    if len({r["atoms"] for r in two}) < 2:
        return None
    needed = [r["temporary_bytes"] + r["held_bytes"] for r in two]
    slope, intercept = np.polyfit([r["atoms"] for r in two], needed, 1)
    return Memory(float(slope), float(intercept))


def pick(records: Sequence[Record], **case: str) -> list[Record]:
    """Return the records of a case."""
    return [r for r in records if all(r[key] == value for key, value in case.items())]


def report(results: Results) -> str:
    """Return all tables as Markdown."""
    records = results["records"]
    lines = [
        "# Programs on GPUs, counted without one",
        "",
        f"Compiled by XLA of jax {_versions(records)} for GPUs that are only described, "
        "float32, not run: nothing here is a measured time. *Kernels*: launched by one "
        "evaluation, one step of dynamics or one training step. *MB moved*: read and written by "
        "them, each operand and result once, whatever caches save. *Temporary*: XLA's plan, up to "
        "34 MB of it a workspace of cuBLAS. *Waits*: loops and conditionals whose course only "
        "the device knows, so that the host waits for it each turn. *Floor*: arguments read once "
        "and results written once. *Time*: the larger of kernels × "
        f"{LAUNCH_IN_GRAPH / MICROSECOND:g} µs, as in a CUDA graph (in parentheses "
        f"{LAUNCH / MICROSECOND:g} µs, without one), and bytes at {ATTAINED:.0%} of the published "
        "bandwidth; arithmetic is left out, so that it is a lower bound. Where a cell has an "
        "arrow, plain forms are before it and kernels written by hand after it. Where the task "
        f"has a {PLACEHOLDER}, these were calls without code, which changes no count.",
        "",
        "As trained: elements H, C, N and O; compressed: those of the system, 56 splines of 1024 "
        "pieces. Cutoff 4.5 Å, all else each model's defaults: two layers, 128 channels "
        "(TensorNet) or 64. Water has the density of the liquid.",
        "",
        "![kernels and bytes](gpu_programs.png)",
    ]
    for device in DEVICES:
        own = pick(records, device=device)
        if own:
            lines += ["", f"## {DEVICES[device].title}", *_tables(own)]
    return "\n".join(lines) + "\n"


def _versions(records: Sequence[Record]) -> str:
    return ", ".join(sorted({r["jax"] for r in records})) or "?"


def _tables(records: Sequence[Record]) -> list[str]:
    """Return the tables of one device."""
    dynamics = [case for case in all_cases() if case.takes_steps or case.task == NEW_LIST]
    training = [case for case in all_cases() if case.task in (GRADIENT, TRAINING)]
    evaluations = [case for case in all_cases() if case.task in (FORCES, STRESS)]
    return [
        *_table("Energy, forces and stress", evaluations, records, _COLUMNS),
        *_dynamics(dynamics, records),
        *_table("Training", training, records, _COLUMNS),
        *_memory(records),
    ]


def _dynamics(cases: Sequence[Case], records: Sequence[Record]) -> list[str]:
    with_list: Column = "with a new list", lambda r: f"{r['launches_with_list']:,}"
    around: Column = "around the steps", lambda r: f"{r['launches_around_steps']:,}"
    block: Column = "steps", lambda r: f"{r['steps_in_block']}"
    columns = (_COLUMNS[0], with_list, around, block, *_COLUMNS[1:])
    lines = _table("Dynamics", cases, records, columns)
    if not lines:
        return lines
    lines[3:3] = [
        "Kernels of one turn of the loop over steps, with a list that still holds, and where a "
        "turn makes a new one. *Around the steps*: launched once a block, of so many *steps* as "
        "XLA knows of: 1 where the loop ends when the device says so. Temporary memory, scatters "
        "and waits are those of the whole program.",
        "",
    ]
    return lines


def _millions(key: str) -> Callable[[Record], str]:
    return lambda r: _rounded(r[key] / MEGABYTE)


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(record: Record) -> str:
    inside, outside = (
        _rounded(record[key] / MICROSECOND) for key in ("predicted_s", "predicted_without_graph_s")
    )
    return f"{inside} ({outside})"


def _waits(record: Record) -> str:
    return f"{record['dynamic_loops'] + record['conditionals']}"


_COLUMNS: tuple[Column, ...] = (
    ("kernels", lambda r: f"{r['launches']:,}"),
    ("MB moved", _millions("bytes")),
    ("temporary MB", _millions("temporary_bytes")),
    ("waits", _waits),
    ("scatters", lambda r: f"{r['scatters']}"),
    ("floor MB", _millions("floor_bytes")),
    ("moved / floor", lambda r: _rounded(r["bytes"] / r["floor_bytes"])),
    ("time, µs", _time),
)


def _table(
    title: str, cases: Sequence[Case], records: Sequence[Record], columns: Sequence[Column]
) -> list[str]:
    """Return a table with a row a case; nothing if there are no records of any."""
    rows = []
    for case in cases:
        both = _both_modes(records, case)
        if both:
            cells = [_arrow([value(r) for r in both]) for _, value in columns]
            atoms = f"{both[0]['atoms']:,}"
            mark = "" if all(r.get("with_code", True) for r in both) else PLACEHOLDER
            names = case.model, case.form, case.task + mark, case.system, atoms
            rows.append(f"| {' | '.join((*names, *cells))} |")
    if not rows:
        return []
    heads = ["model", "form", "task", "system", "atoms", *(name for name, _ in columns)]
    marks = "---|---|---|---|" + "---:|" * (len(columns) + 1)
    return ["", f"### {title}", "", f"| {' | '.join(heads)} |", f"|{marks}", *rows]


def _both_modes(records: Sequence[Record], case: Case) -> list[Record]:
    """Return the records of a case, that of plain forms first."""
    own = pick(records, **vars(case))
    return [r for mode in (PLAIN, BY_HAND) for r in own if r["kernels"] == mode]


def _arrow(cells: Sequence[str]) -> str:
    return " → ".join(dict.fromkeys(cells))


def _memory(records: Sequence[Record]) -> list[str]:
    """Return the table of structures that fit; nothing without two sizes of any program."""
    rows = []
    for case in all_cases():
        if case.system != BOXES[0]:
            continue
        own = pick(records, model=case.model, form=case.form, task=case.task)
        found = [memory_of(pick(own, kernels=mode)) for mode in (PLAIN, BY_HAND)]
        lines = [each for each in found if each is not None]
        if lines:
            cells = [
                _arrow([_rounded(each.an_atom / KILOBYTE) for each in lines]),
                _arrow([_rounded(each.fixed / MEGABYTE) for each in lines]),
                *(_arrow([f"{each.atoms_in(m):,}" for each in lines]) for m in MEMORIES),
            ]
            rows.append(f"| {' | '.join((case.model, case.form, case.task, *cells))} |")
    if not rows:
        return []
    sizes = " | ".join(f"atoms in {each} GB" for each in MEMORIES)
    return [
        "",
        "### Memory",
        "",
        "The line through the memory (temporary, arguments and results) of the two boxes of water.",
        "",
        f"| model | form | task | kB an atom | fixed MB | {sizes} |",
        "|---|---|---|" + "---:|" * (2 + len(MEMORIES)),
        *rows,
    ]


def plot(results: Results, path: Path) -> None:
    """Draw kernels of typical programs, and bytes against atoms with their floor."""
    device = next(iter(DEVICES))
    records = pick(results["records"], device=device)
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_kernels(left, records)
    _draw_bytes(right, records)
    figure.suptitle(DEVICES[device].title)
    figure.savefig(path, dpi=150)


def _draw_kernels(axes: Axes, records: Sequence[Record]) -> None:
    cases = [case for case in all_cases() if case.is_typical and _both_modes(records, case)]
    for shift, mode, label in ((-0.2, PLAIN, "plain forms"), (0.2, BY_HAND, "kernels by hand")):
        places, counts = [], []
        for place, case in enumerate(cases):
            for record in pick(records, kernels=mode, **vars(case)):
                places.append(place + shift)
                counts.append(record["launches"])
        if counts:
            axes.barh(places, counts, 0.4, label=label)
            axes.legend(fontsize=8)
    names = [f"{case.model}, {case.form}\n{case.task}" for case in cases]
    axes.set_yticks(range(len(cases)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="kernels", title=f"{BOXES[0]}; training: 8 aspirins")
    axes.grid(axis="x", alpha=0.3)


def _draw_bytes(axes: Axes, records: Sequence[Record]) -> None:
    forms = dict.fromkeys((case.model, case.form) for case in all_cases())
    for number, (model, form) in enumerate(forms):
        for mode, style in ((PLAIN, "o--"), (BY_HAND, "s-")):
            own = pick(records, model=model, form=form, task=FORCES, kernels=mode)
            if not own:
                continue
            own = sorted(own, key=lambda r: r["atoms"])
            atoms = [r["atoms"] for r in own]
            moved = [r["bytes"] / MEGABYTE for r in own]
            axes.loglog(atoms, moved, style, color=f"C{number}")
            floor = [r["floor_bytes"] / MEGABYTE for r in own]
            axes.loglog(atoms, floor, ":", color=f"C{number}")
        if pick(records, model=model, form=form, task=FORCES):
            axes.plot([], [], color=f"C{number}", label=f"{model}, {form}")
    axes.set(xlabel="atoms", ylabel="MB moved", title=FORCES)
    axes.grid(alpha=0.3, which="both")
    for style, label in (("ks-", "kernels by hand"), ("ko--", "plain forms"), ("k:", "floor")):
        axes.plot([], [], style, label=label)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
