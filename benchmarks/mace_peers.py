"""Time MACE against the MACE of mace-torch and of mlip on the same structures, at the same sizes.

pip install mace-torch mlip
python benchmarks/mace_peers.py STRUCTURES [FOLDER] [--batch 5] [--channels 64] [--hidden 1 2 3]

STRUCTURES is whatever ASE reads. For each size of the hidden irreps all take turns in one run.
Weights are random: they change nothing about the work. mlip's and mace-torch's MACE have the same
number of parameters; ours has fewer, because symmetric couplings that agree on equal factors are
one. Models converted from mace-torch's have its weights, and are compared with it before they are
timed. mlip is left out where it is not installed.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import ase.io
import jax
from mace_contenders import (
    CORRELATION,
    CUTOFF,
    HAS_MLIP,
    L_MAX,
    LAYERS,
    OURS,
    TOLERANCE,
    Case,
    Contender,
    of_converted,
    of_mace_torch,
    of_mlip,
    ours,
    require_same_edges,
)
from results_file import machine_line, results_folder

from tensornet_jax.benchmark.machine import describe_machine, installed_versions
from tensornet_jax.benchmark.measure import alternate

PEERS = ("mlip", "mace-torch", "torch")


def run(structures: Sequence[ase.Atoms], channels: int, hidden: int) -> list[dict[str, Any]]:
    """Prepare all networks, then time them in turns."""
    numbers = tuple(sorted({int(z) for atoms in structures for z in atoms.numbers}))
    case = Case(structures, numbers, channels, hidden)
    makers: list[Callable[[], Contender]] = [
        *(lambda name=name: ours(case, name) for name in OURS),
        *(lambda small=small: of_converted(case, small) for small in (False, True)),
        *(lambda gaunt=gaunt: of_mlip(case, gaunt) for gaunt in (False, True) if HAS_MLIP),
        *(lambda scripted=scripted: of_mace_torch(case, scripted) for scripted in (False, True)),
    ]
    contenders = []
    for make in makers:
        contenders.append(make())
        print(f"hidden l_max {hidden}: {contenders[-1].name} is ready", flush=True)
    require_same_edges(contenders)
    labelled = [(c, task, work) for c in contenders for task, work in c.tasks.items()]
    timings = alternate([work for *_, work in labelled], seconds=4.0, warm_up=3)
    return [
        {
            "hidden_l_max": hidden,
            "name": contender.name,
            "family": contender.family,
            "task": task,
            "parameters": contender.parameters,
            "edges": contender.edges,
            **asdict(timing),
        }
        for (contender, task, _), timing in zip(labelled, timings, strict=True)
    ]


def table(results: dict[str, Any]) -> str:
    """Return the times as Markdown, with the ratio of the fastest peer of a family to each."""
    records = results["records"]
    lines = [
        "# MACE and its peers",
        "",
        f"{results['structures']} structures at once, {results['atoms']} atoms and "
        f"{records[0]['edges']} edges in all ({results['formula']}), cutoff {CUTOFF} Å, "
        f"{results['channels']} channels, {LAYERS} layers, harmonics to l = {L_MAX}, ν = "
        f"{CORRELATION}, float32, on {machine_line(results, *PEERS)}. "
        "Medians in ms; at each size all took turns in one run. Ratio: time of the fastest "
        "peer of the same kind over this one. Converted models have mace-torch's weights; the "
        f"compressed one is within {TOLERANCE:g} eV/atom and eV/Å.",
    ]
    for hidden in sorted({record["hidden_l_max"] for record in records}):
        lines += [
            "",
            f"## Hidden irreps to l = {hidden}",
            "",
            "| | parameters | energy + forces | ratio | training step | ratio |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        own = [record for record in records if record["hidden_l_max"] == hidden]
        for name in dict.fromkeys(record["name"] for record in own):
            cells = []
            for task in ("energy_forces", "training_step"):
                mine = [r for r in own if r["name"] == name]
                here = next((r for r in mine if r["task"] == task), None)
                if here is None:
                    cells += ["", ""]
                    continue
                alike = [r for r in own if (r["task"], r["family"]) == (task, here["family"])]
                peers = [r for r in alike if not r["name"].startswith("tensornet_jax")]
                best = min((r["median_s"] for r in peers), default=float("nan"))
                cells += [f"{1e3 * here['median_s']:.1f}", f"{best / here['median_s']:.2f}"]
            count = next(r["parameters"] for r in own if r["name"] == name)
            lines.append(f"| {name} | {count:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write results.json and README.md."""
    parser = argparse.ArgumentParser(description="Time MACE against its peers.")
    parser.add_argument("structures", type=Path, help="file that ASE reads")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/mace_peers")
    parser.add_argument("--batch", type=int, default=5, help="structures at once")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--hidden", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    folder = results_folder("mace_peers", arguments.folder)
    frames = ase.io.read(arguments.structures, f":{arguments.batch}")
    frames = [frames] if isinstance(frames, ase.Atoms) else frames
    records = []
    for hidden in arguments.hidden:
        records += run(frames, arguments.channels, hidden)
        jax.clear_caches()
    results = {
        "benchmark": "mace_peers",
        "machine": describe_machine(),
        "versions": installed_versions()
        | {name: version(name) for name in PEERS if name != "mlip" or HAS_MLIP},
        "structures": len(frames),
        "formula": str(frames[0].symbols.formula.format("hill")),
        "atoms": sum(map(len, frames)),
        "channels": arguments.channels,
        "records": records,
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = table(results)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
