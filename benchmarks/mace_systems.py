"""Time models converted from mace-torch's against mace-torch, with the same weights.

pip install mace-torch
python benchmarks/mace_systems.py [FOLDER] [--channels 64 128] [--hidden 0 1 2]

Energies and forces of nine systems of 9 to 648 atoms, and a training step of 8 aspirins. Forces of
both programs are compared first. Then mace-torch as it is and as TorchScript, the converted model,
and the converted model compressed for the elements of the systems take turns in one process. Arrays
of ours fit the structures as they do in long runs. What is asked for replaces what the folder's
results have of it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import jax
from mace_contenders import (
    COMPRESSED,
    CONVERTED,
    CORRELATION,
    CUTOFF,
    L_MAX,
    LAYERS,
    TOLERANCE,
    Case,
    Contender,
    converted,
    of_mace_torch,
    of_potential,
    require_same_edges,
)
from results_file import add_records, machine_line, results_folder
from systems import nine_systems

from tensornet_jax.benchmark.measure import alternate
from tensornet_jax.potential.compress import compress
from tensornet_jax.runtime.markdown import markdown_table
from tensornet_jax.runtime.memory import keep_freed_memory

PEERS = ("mace-torch", "torch")
TRAINED = "8 aspirins"
KEYS = ("channels", "hidden_l_max", "system", "task", "name")


def run(channels: int, hidden: int) -> list[dict[str, Any]]:
    """Time all contenders on all systems, system by system."""
    systems = nine_systems()
    numbers = tuple(sorted({int(z) for atoms in systems.values() for z in atoms.numbers}))
    molecules = [systems[name] for name in ("aspirin", "alanine dipeptide", "3BPA", "C60")]
    case = Case([systems["water 192, periodic"], *molecules], numbers, channels, hidden)
    potential = converted(case)
    potentials = {CONVERTED: potential, COMPRESSED: compress(potential, TOLERANCE, molecules)}
    records = []
    for system, atoms in systems.items():
        each = replace(case, structures=[atoms])
        records += _timed(system, "energy_forces", each, potentials)
    each = replace(case, structures=[systems["aspirin"]] * 8)
    return records + _timed(TRAINED, "training_step", each, {CONVERTED: potential})


def _timed(system: str, task: str, case: Case, potentials: dict[str, Any]) -> list[dict[str, Any]]:
    train = task == "training_step"
    contenders: list[Contender] = [
        *(of_potential(name, found, case, train) for name, found in potentials.items()),
        *(of_mace_torch(case, scripted) for scripted in (False, True)),
    ]
    require_same_edges(contenders)
    timings = alternate([each.tasks[task] for each in contenders], seconds=1.5, warm_up=3)
    jax.clear_caches()
    facts = {"channels": case.channels, "hidden_l_max": case.hidden, "system": system, "task": task}
    found = [
        facts | {"name": each.name, "edges": each.edges, **asdict(timing)}
        for each, timing in zip(contenders, timings, strict=True)
    ]
    print(facts, {each["name"]: f"{1e3 * each['median_s']:.2f} ms" for each in found}, flush=True)
    return found


def report(results: dict[str, Any]) -> str:
    """Return the times as Markdown, with the ratio of mace-torch's faster form to each."""
    records = results["records"]
    lines = [
        "# Models of mace-torch, converted, against mace-torch",
        "",
        f"Nine systems, cutoff {CUTOFF} Å, {LAYERS} layers, harmonics to l = {L_MAX}, ν = "
        f"{CORRELATION}, float32, random weights, on {machine_line(results, *PEERS)}. "
        "Medians in ms; contenders took turns. mace-torch: the faster of eager and TorchScript,"
        " with the neighbor list given. Ratios: its time over ours. The compressed model is within "
        f"{TOLERANCE:g} eV/atom and eV/Å.",
    ]
    sizes = sorted({(each["channels"], each["hidden_l_max"]) for each in records})
    for channels, hidden in sizes:
        own = [r for r in records if (r["channels"], r["hidden_l_max"]) == (channels, hidden)]
        lines += ["", f"## {channels} channels, hidden irreps to l = {hidden}", ""]
        lines += _sizes_table(own)
    return "\n".join(lines) + "\n"


def _sizes_table(records: Sequence[dict[str, Any]]) -> list[str]:
    rows: list[list[str]] = []
    ratios: dict[str, list[float]] = {CONVERTED: [], COMPRESSED: []}
    for system in dict.fromkeys(each["system"] for each in records):
        times = {r["name"]: r["median_s"] for r in records if r["system"] == system}
        peer = min(time for name, time in times.items() if name.startswith("mace-torch"))
        cells = [f"{1e3 * peer:.2f}"]
        for name, found in ratios.items():
            if name not in times:
                cells += ["", ""]
                continue
            cells += [f"{1e3 * times[name]:.2f}", f"{peer / times[name]:.2f}"]
            if system != TRAINED:
                found.append(peer / times[name])
        what = f"training step of {system}" if system == TRAINED else system
        rows.append([what, *cells])
    means = [f"{geometric_mean(found):.2f}" if found else "" for found in ratios.values()]
    rows.append(["geometric mean of energy + forces", "", "", means[0], "", means[1]])
    heads = ("", "mace-torch", "converted", "ratio", "compressed", "ratio")
    return markdown_table(heads, rows, numbers=range(1, 6))


def main() -> None:
    """Run and write results.json and README.md."""
    parser = argparse.ArgumentParser(description="Time converted models against mace-torch.")
    parser.add_argument("folder", nargs="?", type=Path, help="by default of this machine")
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--hidden", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    keep_freed_memory()
    folder = results_folder("mace_systems", arguments.folder)
    versions = {name: version(name) for name in PEERS}
    for channels in arguments.channels:
        for hidden in arguments.hidden:
            new = run(channels, hidden)
            results = add_records(folder, "mace_systems", new, KEYS, versions)
            (folder / "README.md").write_text(report(results), encoding="utf-8")
    print((folder / "README.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
