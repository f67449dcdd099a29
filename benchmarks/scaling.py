"""Time energy and forces of TensorNet from a hundred to a hundred thousand atoms of water.

python benchmarks/scaling.py [FOLDER] [--cases NAME ...] [--sides 3 5 7 ...] [--memory 12]

A box has 3·side³ atoms. A size whose arrays need more than --memory GB is not timed, which the
tables say. Neighbor lists are timed apart. What is asked for replaces what the folder's results
have of it, so that cases and sizes can be run one at a time.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from evaluation_work import evaluation, padded
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder
from systems import water

from tensornet_jax.benchmark.machine import Peaks, costs, measure_peaks
from tensornet_jax.benchmark.measure import alternate, compile_work
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_list import device_pairs
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.runtime.memory import keep_freed_memory
from tensornet_jax.runtime.precision import precision_scope

NUM_RADIAL, CUTOFF = 32, 4.5
SIDES = (3, 5, 7, 10, 15, 22, 32)
GIGABYTE = 1e9
# Of the exponent of the cost.
LINEAR = (0.95, 1.1)


@dataclass(frozen=True)
class Case:
    """A network: its channels and layers, and whether it is compressed."""

    channels: int
    layers: int
    compressed: bool = False

    def potential(self) -> Potential:
        """Return it with random weights, for water."""
        config = TensorNetConfig(
            num_channels=self.channels,
            num_layers=self.layers,
            num_radial=NUM_RADIAL,
            cutoff=CUTOFF,
        )
        potential = create_potential(config, ElementTable((1, 8), np.zeros(2)), seed=0)
        return compress(potential, structures=[water(3)]) if self.compressed else potential


CASES = {
    "128 channels, 2 layers": Case(128, 2),
    "128 channels, 2 layers, compressed": Case(128, 2, compressed=True),
    "128 channels, 0 layers": Case(128, 0),
    "16 channels, 2 layers": Case(16, 2),
    "16 channels, 2 layers, compressed": Case(16, 2, compressed=True),
}
LISTS = ("list, device", "list, host")


def measure(
    name: str, potential: Potential, side: int, memory: float, peaks: Peaks
) -> dict[str, Any]:
    """Time a network at one size, if it needs no more memory, GB."""
    atoms = water(side)
    structure = potential.structure(atoms)
    graph = padded(potential, [atoms])
    work = evaluation(potential, graph)
    record = {
        "case": name,
        "atoms": len(atoms),
        "pairs": len(structure.pairs),
        "temporary_bytes": work.temporary_bytes,
        "held_bytes": work.held_bytes,
        "compile_s": work.compile_s,
    }
    needed = (work.temporary_bytes or 0) + (work.held_bytes or 0)
    if needed > memory * GIGABYTE:
        record["not_timed"] = f"needs {needed / GIGABYTE:.0f} GB"
        print(f"{name}, {len(atoms):,} atoms {record['not_timed']}", flush=True)
        return record
    reset_peak_memory()
    [timing] = alternate([work], seconds=2.0, fewest=3, warm_up=2 if side < 15 else 1)
    print(f"{name}, {len(atoms):,} atoms: {1e3 * timing.median_s:.4g} ms", flush=True)
    return {
        **record,
        **asdict(timing),
        "atom_steps_per_s": len(atoms) / timing.median_s,
        "peak_resident_bytes": peak_memory(),
        **costs(work, timing.median_s, peaks),
    }


def measure_lists(side: int) -> list[dict[str, Any]]:
    """Time making the neighbor list, on the device and on the host with all that a graph needs."""
    atoms, pbc = water(side), (True, True, True)
    potential = Case(2, 0).potential()
    capacity = cell_list_capacity(atoms.positions, atoms.cell.array, pbc, CUTOFF)
    padded = jnp.asarray(np.vstack([atoms.positions, np.zeros(3)]), jnp.float32)
    real = jnp.arange(len(padded)) < len(atoms)
    cell = jnp.asarray(atoms.cell.array, jnp.float32)
    on_device = compile_work(
        lambda positions, real, cell: device_pairs(positions, real, cell, pbc, CUTOFF, capacity),
        *(padded, real, cell),
    )
    if on_device().overflow:
        raise RuntimeError(f"{capacity} does not hold the list of {len(atoms)} atoms")

    def on_host() -> AtomGraph:
        structure = potential.structure(atoms)
        return to_device(batch_structures([structure], Capacity.holding([structure]), "float32"))

    records = []
    timings = alternate([on_device, on_host], seconds=1.0, fewest=3, warm_up=1)
    for name, timing in zip(LISTS, timings, strict=True):
        records.append({"case": name, "atoms": len(atoms), **asdict(timing)})
        print(f"{name}, {len(atoms):,} atoms: {1e3 * timing.median_s:.4g} ms", flush=True)
    return records


def reset_peak_memory() -> None:
    """Let the kernel forget the most memory this process has had, where it can."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5", encoding="utf-8")


def peak_memory() -> int | None:
    """Return the most bytes this process has had in memory, None where the kernel does not say."""
    file = Path("/proc/self/status")
    if not file.exists():
        return None
    [line] = [x for x in file.read_text(encoding="utf-8").splitlines() if x.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def exponent(records: Sequence[dict[str, Any]]) -> float:
    """Return the slope of log time against log atoms, by least squares."""
    atoms, times = zip(*((r["atoms"], r["median_s"]) for r in records), strict=True)
    return float(np.polyfit(np.log(atoms), np.log(times), 1)[0])


def table(results: dict[str, Any]) -> str:
    """Return times, exponents, memory and the fraction of peak as Markdown."""
    machine, records = results["machine"], results["records"]
    lines = [
        "# The cost of energy and forces against the number of atoms",
        "",
        f"Periodic water at liquid density, TensorNet with {NUM_RADIAL} expnorm functions, cutoff "
        f"{CUTOFF} Å (38 neighbors an atom), random weights, elements H and O, float32, on "
        f"{machine_line(results)}, {machine['memory_bytes'] / GIGABYTE:.0f} GB. Medians; freed "
        "memory stays with the process, as in our command line; the neighbor list is given, and "
        "timed apart at the end. Exponent: slope of log time against "
        f"log atoms over all sizes; linear means {LINEAR[0]} to {LINEAR[1]}. Memory: XLA's "
        "temporary arrays, those with arguments and results, and the most the process had, by "
        "the kernel. Fraction of peak: operations at the speed of a large matrix product, or bytes "
        "at that of a large copy, over the time; the larger.",
        "",
        "![times](scaling.png)",
    ]
    for name in CASES:
        own = sorted((r for r in records if r["case"] == name), key=lambda r: r["atoms"])
        lines += case_lines(name, own)
    lines += list_lines(records)
    return "\n".join(lines) + "\n"


def case_lines(name: str, records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of one network, its records by the number of atoms."""
    timed = [r for r in records if "median_s" in r]
    if len(timed) < 2:
        return []
    largest = records[-1]
    total = largest["temporary_bytes"] + largest["held_bytes"]
    lines = [
        "",
        f"## {name[0].upper()}{name[1:]}",
        "",
        f"N^**{exponent(timed):.2f}** from {timed[0]['atoms']:,} to {timed[-1]['atoms']:,} "
        f"atoms; **{total / largest['atoms'] / 1e3:.0f} kB an atom**.",
        "",
        "| atoms | ms | µs / atom | atoms·steps/s | local exponent | temporary MB | with held "
        "| peak MB | kB / atom | fraction of peak | bound by | compile, s |",
        "|---:|" + "---:|" * 9 + "---|---:|",
    ]
    for before, r in zip([None, *records], records, strict=False):
        cells = " | ".join(case_cells(before, r))
        lines.append(f"| {cells} | {r['compile_s']:.0f} |")
    return lines


def case_cells(before: dict[str, Any] | None, r: dict[str, Any]) -> list[str]:
    """Return the cells of one size, given the next smaller one."""
    known = r["temporary_bytes"], r["temporary_bytes"] + r["held_bytes"]
    memory = [f"{x / 1e6:,.0f}" for x in known]
    per_atom = f"{known[1] / r['atoms'] / 1e3:.0f}"
    if "median_s" not in r:
        return [f"{r['atoms']:,}", r["not_timed"], "", "", "", *memory, "", per_atom, "", ""]
    return [
        f"{r['atoms']:,}",
        f"{1e3 * r['median_s']:.4g}",
        f"{1e6 * r['median_s'] / r['atoms']:.0f}",
        f"{r['atom_steps_per_s']:,.0f}",
        f"{exponent([before, r]):.2f}" if before and "median_s" in before else "",
        *memory,
        f"{r['peak_resident_bytes'] / 1e6:,.0f}" if r["peak_resident_bytes"] else "",
        per_atom,
        f"{r['fraction_of_peak']:.2f}",
        r["bound"],
    ]


def list_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table of neighbor lists; nothing where they were not timed."""
    lists = {
        name: {r["atoms"]: r["median_s"] for r in records if r["case"] == name} for name in LISTS
    }
    if not lists[LISTS[0]]:
        return []
    lines = [
        "",
        "## Neighbor lists",
        "",
        "ms; both with reverse edges and slots. [More](../neighbors/README.md).",
        "",
        "| atoms | device | host |",
        "|---:|---:|---:|",
    ]
    for atoms in sorted(lists[LISTS[0]]):
        times = " | ".join(f"{1e3 * each[atoms]:.3g}" for each in lists.values())
        lines.append(f"| {atoms:,} | {times} |")
    return lines


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw time and memory against atoms."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name in (*CASES, *LISTS):
        own = [r for r in results["records"] if r["case"] == name and "median_s" in r]
        own = sorted(own, key=lambda r: r["atoms"])
        if not own:
            continue
        atoms = [r["atoms"] for r in own]
        label = f"{name}: N^{exponent(own):.2f}" if len(own) > 1 else name
        style = "s--" if name in LISTS else "o-"
        left.loglog(atoms, [r["median_s"] for r in own], style, markersize=4, label=label)
        if name in CASES:
            total = [(r["temporary_bytes"] + r["held_bytes"]) / GIGABYTE for r in own]
            right.loglog(atoms, total, "o-", markersize=4, label=name)
    left.set_ylabel("energy + forces (s)")
    right.set_ylabel("XLA's arrays (GB)")
    for axes in (left, right):
        axes.set_xlabel("atoms")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run what is asked for and write results.json, README.md and scaling.png."""
    names = [*CASES, "lists"]
    parser = argparse.ArgumentParser(description="Time TensorNet against the number of atoms.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/scaling")
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--sides", nargs="+", type=int, default=SIDES, help="molecules an edge")
    parser.add_argument("--memory", type=float, default=12.0, help="GB that may be used")
    arguments = parser.parse_args()
    keep_freed_memory()
    folder = results_folder("scaling", arguments.folder)
    with precision_scope("float32"):
        peaks = measure_peaks("float32")
        for name in arguments.cases:
            potential = CASES[name].potential() if name in CASES else None
            for side in sorted(arguments.sides):
                if potential is None:
                    records = measure_lists(side)
                else:
                    records = [measure(name, potential, side, arguments.memory, peaks)]
                jax.clear_caches()
                results = add_records(folder, "scaling", records, ("case", "atoms"), {})
                (folder / "README.md").write_text(table(results), encoding="utf-8")
                plot(results, folder / "scaling.png")


if __name__ == "__main__":
    main()
