"""Time energy and forces of TensorNet against torchmd-net with the same weights, on nine systems.

pip install torch torchmd-net
python benchmarks/inference.py [FOLDER] [--layers 0 1 2] [--tolerance 1e-5]

Energies and forces of both packages are compared first. Then torchmd-net in each of its modes,
this package, and this package compressed for the elements of the systems take turns in one process.
What is asked for replaces what the folder's results have of it, so that numbers of layers can be
run one at a time.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import ase
import jax
import numpy as np
import torchmdnet_peer
from evaluation_work import evaluation, padded
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder
from systems import nine_systems

from tensornet_jax.benchmark.machine import costs, measure_peaks
from tensornet_jax.benchmark.measure import Work, alternate
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.memory import keep_freed_memory
from tensornet_jax.runtime.precision import precision_scope

CHANNELS, NUM_RADIAL, CUTOFF = 128, 32, 4.5
OURS = {"tensornet_jax": "as trained", "tensornet_jax, compressed": "compressed"}
# Of the largest value; both compute in float32.
AGREEMENT = 3e-5


def our_work(potential: Potential, atoms: ase.Atoms) -> Work:
    """Compile energy and forces, on arrays padded as `Potential.evaluate` pads them."""
    return evaluation(potential, padded(potential, [atoms]))


def check(
    name: str, atoms: ase.Atoms, work: Any, peer: Callable[[], np.ndarray], tolerance: float
) -> None:
    """Raise unless energy and forces are the peer's up to rounding and a tolerance (eV, eV/Å)."""
    found = work()
    energy, forces = np.asarray(found["energy"]), np.asarray(found["forces"])
    expected = peer()
    pairs = {
        "energy": (energy[:1], expected[:1], tolerance * len(atoms)),
        "forces": (forces[: len(atoms)].ravel(), expected[1:], tolerance),
    }
    for quantity, (ours, theirs, allowed) in pairs.items():
        deviation = abs(ours - theirs).max()
        if not deviation <= AGREEMENT * abs(theirs).max() + allowed:
            raise RuntimeError(f"{name}: {quantity} differs from torchmd-net's by {deviation:.1e}")


def run(layers: int, tolerance: float) -> list[dict[str, Any]]:
    """Time all contenders on all systems, system by system."""
    peer = torchmdnet_peer.build(torchmdnet_peer.arguments(CHANNELS, layers, NUM_RADIAL, CUTOFF))
    systems = nine_systems()
    elements = sorted({int(z) for atoms in systems.values() for z in atoms.numbers})
    small = compress(with_elements(peer.potential, elements), tolerance)
    potentials = dict(zip(OURS, (peer.potential, small), strict=True))
    tables = small.config.compression
    assert tables is not None
    facts = small.metadata["compression"] | tables.model_dump()
    peaks = measure_peaks("float32")
    records = []
    for system, atoms in systems.items():
        works = {name: our_work(potential, atoms) for name, potential in potentials.items()}
        peers = {m: torchmdnet_peer.energy_forces(peer, atoms, m) for m in torchmdnet_peer.MODES}
        for name, work in works.items():
            allowed = 0.0 if name == "tensornet_jax" else tolerance
            check(f"{system}, {name}", atoms, work, peers["warp"], allowed)
        contenders: dict[str, Callable[[], Any]] = {**works, **peers}
        timings = alternate(list(contenders.values()), seconds=1.5, warm_up=3)
        for name, timing in zip(contenders, timings, strict=True):
            ours = name in works
            records.append(
                {
                    "layers": layers,
                    "system": system,
                    "atoms": len(atoms),
                    "pairs": len(peer.potential.structure(atoms).pairs),
                    "name": name,
                    "ours": ours,
                    **asdict(timing),
                    "atom_steps_per_s": len(atoms) / timing.median_s,
                    **(costs(works[name], timing.median_s, peaks) if ours else {}),
                    **({"peaks": asdict(peaks)} if ours else {}),
                    **({"compression": facts} if "compressed" in name else {}),
                }
            )
        best = ratio(records, layers, system, "tensornet_jax, compressed")
        print(f"{layers} layers, {system}: {best:.1f} times as fast compressed", flush=True)
        jax.clear_caches()
    return records


def pick(records: list[dict[str, Any]], layers: int, system: str) -> dict[str, dict[str, Any]]:
    """Return the records of one system by name."""
    return {r["name"]: r for r in records if (r["layers"], r["system"]) == (layers, system)}


def ratio(records: list[dict[str, Any]], layers: int, system: str, name: str) -> float:
    """Time of torchmd-net's fastest mode over that of one of ours."""
    own = pick(records, layers, system)
    return min(r["median_s"] for r in own.values() if not r["ours"]) / own[name]["median_s"]


def table(results: dict[str, Any]) -> str:
    """Return times and ratios as Markdown."""
    records = results["records"]
    peaks = next(r["peaks"] for r in reversed(records) if "peaks" in r)
    lines = [
        "# Energy and forces of TensorNet against torchmd-net",
        "",
        f"{CHANNELS} channels, {NUM_RADIAL} expnorm functions, cutoff {CUTOFF} Å, the same random "
        f"weights, float32, on "
        f"{machine_line(results, 'torchmd-net', 'torch', 'warp-lang')}. "
        "Medians in ms, everybody in turns "
        "in one process; energies and forces were compared first. torchmd-net's modes: Warp "
        "kernels or plain torch, with its own search for neighbors or with the list given, in "
        "eval mode with tabulated species embeddings. Ratio: the fastest of these over ours. "
        "torch.compile was slower than all of them on CPUs and is left out. Freed memory stays "
        "with the process for all contenders, as in our command line. *Compressed*: for the "
        "elements of the systems, as `tensornet-jax compress --elements H,C,N,O` does it, where "
        "the model *as trained* has torchmd-net's table of 100. Memory: XLA's "
        "temporary arrays. Fraction of peak: operations at the speed of a large matrix product "
        f"({peaks['gemm_flops_per_s'] / 1e9:.0f} GFLOP/s), or bytes gathered and in and out of "
        f"matrix products at that of a large copy ({peaks['copy_bytes_per_s'] / 1e9:.0f} GB/s), "
        "over the time; the larger.",
    ]
    for layers in sorted({r["layers"] for r in records}):
        of_layers = [r for r in records if r["layers"] == layers]
        [facts] = {json.dumps(r["compression"]) for r in of_layers if "compression" in r}
        facts = json.loads(facts)
        systems = list(dict.fromkeys(r["system"] for r in of_layers))
        lines += [
            "",
            f"## {layers} layers",
            "",
            f"Compressed to {facts['rank']} splines; errors up to "
            f"{facts['max_error_energy_eV_per_atom']:.0e} eV/atom and "
            f"{facts['max_error_forces_eV_per_A']:.0e} eV/Å (tolerance {facts['tolerance']:g}).",
            "",
            *times_table(records, layers, systems),
            "",
            *costs_table(records, layers, systems),
        ]
    return "\n".join(lines) + "\n"


def times_table(records: list[dict[str, Any]], layers: int, systems: list[str]) -> list[str]:
    """Return times of everybody and ratios, a system a row."""
    lines = [
        "| system | atoms | "
        + " | ".join(torchmdnet_peer.MODES)
        + " | as trained | ratio | compressed | ratio | atoms·steps/s |",
        "|---|---:|" + "---:|" * (len(torchmdnet_peer.MODES) + 5),
    ]
    for system in systems:
        own = pick(records, layers, system)
        cells = [f"{1e3 * own[m]['median_s']:.1f}" for m in torchmdnet_peer.MODES]
        for name in OURS:
            cells += [
                f"{1e3 * own[name]['median_s']:.2f}",
                f"{ratio(records, layers, system, name):.2f}",
            ]
        cells.append(f"{own['tensornet_jax, compressed']['atom_steps_per_s']:,.0f}")
        atoms = own["warp"]["atoms"]
        lines.append(f"| {system} | {atoms} | {' | '.join(cells)} |")
    means = [geometric_mean(ratio(records, layers, s, n) for s in systems) for n in OURS]
    blank = " |" * (len(torchmdnet_peer.MODES) + 2)
    lines.append(f"| *geometric mean* |{blank} *{means[0]:.2f}* | | *{means[1]:.2f}* | |")
    return lines


def costs_table(records: list[dict[str, Any]], layers: int, systems: list[str]) -> list[str]:
    """Return memory, operations and the fraction of peak of our own models, a system a row."""
    lines = [
        "| system | as trained: MB | GFLOP | fraction of peak | bound by "
        "| compressed: MB | GFLOP | fraction of peak | bound by |",
        "|---|---:|---:|---:|---|---:|---:|---:|---|",
    ]
    for system in systems:
        cells = []
        for name in OURS:
            r = pick(records, layers, system)[name]
            cells += [
                f"{r['temporary_bytes'] / 1e6:.1f}",
                f"{r['flops'] / 1e9:.3f}",
                f"{r['fraction_of_peak']:.2f}",
                r["bound"],
            ]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return lines


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw time against atoms, a panel for each number of layers."""
    records = results["records"]
    depths = sorted({r["layers"] for r in records})
    figure = Figure(figsize=(4.2 * len(depths), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, layers in zip(np.ravel(figure.subplots(1, len(depths))), depths, strict=True):
        systems = list(dict.fromkeys(r["system"] for r in records))
        atoms = [pick(records, layers, s)["warp"]["atoms"] for s in systems]
        peers = [
            min(r["median_s"] for r in pick(records, layers, s).values() if not r["ours"])
            for s in systems
        ]
        axes.loglog(atoms, 1e3 * np.array(peers), "ks", label="torchmd-net, fastest mode")
        for name, style in zip(OURS, ("o", "^"), strict=True):
            own = [pick(records, layers, s)[name]["median_s"] for s in systems]
            axes.loglog(atoms, 1e3 * np.array(own), style, label=f"tensornet_jax, {OURS[name]}")
        axes.set(title=f"{layers} layers", xlabel="atoms", ylabel="energy + forces (ms)")
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run and write results.json, README.md and inference.png."""
    parser = argparse.ArgumentParser(description="Time TensorNet against torchmd-net.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/inference")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of compression")
    arguments = parser.parse_args()
    folder = results_folder("inference", arguments.folder)
    keep_freed_memory()
    for layers in arguments.layers:
        with precision_scope("float32"):
            records = run(layers, arguments.tolerance)
        keys, versions = ("layers", "system", "name"), torchmdnet_peer.VERSIONS
        results = add_records(folder, "inference", records, keys, versions)
        (folder / "README.md").write_text(table(results), encoding="utf-8")
        plot(results, folder / "inference.png")


if __name__ == "__main__":
    main()
