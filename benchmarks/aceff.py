"""Time AceFF in torchmd-net and here, with the published weights, on three molecules.

pip install torch torchmd-net
python benchmarks/aceff.py CHECKPOINT... [--folder FOLDER]

A checkpoint is what Acellera publishes (.ckpt), or an .npz of the same (docs/interoperability.md).
Energies and forces of both packages are compared first, then everybody takes turns in one process.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import ase
import jax
import numpy as np
import torchmdnet_peer
from inference import AGREEMENT, our_work
from results_file import add_records, machine_line, results_folder
from systems import nine_systems

from tensornet_jax.benchmark.measure import alternate
from tensornet_jax.interop import aceff
from tensornet_jax.interop.torchmd_net.files import read_checkpoint
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.memory import keep_freed_memory
from tensornet_jax.runtime.precision import precision_scope

SYSTEMS = ("ethanol", "alanine dipeptide", "chignolin")
OURS, COMPRESSED = "tensornet_jax", "tensornet_jax, compressed"
TOLERANCE = 1e-5
# What torchmd-net needs and the files leave out or say for its training.
SETTINGS = {
    "max_num_neighbors": 128,
    "atom_filter": -1,
    "derivative": True,
    "precision": 32,
    "static_shapes": False,
    "prior_model": None,
}


def contenders(potential: Potential) -> dict[str, Potential]:
    """Return the potential, and its compressed form where it has one.

    The tolerance is kept on the molecules that are timed.
    """
    if not potential.config.compressible:
        return {OURS: potential}
    molecules = [nine_systems()[system] for system in SYSTEMS]
    small = with_elements(potential, (1, 6, 7, 8, 16))
    return {OURS: potential, COMPRESSED: compress(small, TOLERANCE, molecules)}


def deviation(name: str, atoms: ase.Atoms, work: Any, peer: Callable[[], np.ndarray]) -> float:
    """Return the largest difference of forces (eV/Å); raise if it is more than rounding."""
    computed = work()
    energy, forces = np.asarray(computed["energy"]), np.asarray(computed["forces"])
    expected = peer()
    found = abs(forces[: len(atoms)].ravel() - expected[1:]).max()
    allowed = AGREEMENT * abs(expected[1:]).max() + TOLERANCE
    difference = abs(energy[0] - expected[0])
    if not (found <= allowed and difference <= AGREEMENT * abs(expected[0]) + allowed):
        raise RuntimeError(f"{name}: {difference:.1e} eV and {found:.1e} eV/Å from torchmd-net's")
    return float(found)


def run(path: Path) -> list[dict[str, Any]]:
    """Time all contenders on all systems."""
    checkpoint = read_checkpoint(path, "auto")
    peer = torchmdnet_peer.build(
        {**checkpoint.config, **SETTINGS},
        weights={name: value for name, value in checkpoint.state.items() if "prior" not in name},
        convert=aceff.from_state_dict,
    )
    potentials = contenders(peer.potential)
    records = []
    for system in SYSTEMS:
        atoms = nine_systems()[system]
        works = {name: our_work(each, atoms) for name, each in potentials.items()}
        peers = {m: torchmdnet_peer.energy_forces(peer, atoms, m) for m in torchmdnet_peer.MODES}
        found = {name: deviation(name, atoms, w, peers["warp"]) for name, w in works.items()}
        runs: dict[str, Callable[[], Any]] = {**works, **peers}
        timings = alternate(list(runs.values()), seconds=1.5, warm_up=3)
        for name, timing in zip(runs, timings, strict=True):
            records.append(
                {
                    "potential": path.stem.removesuffix("_weights"),
                    "model": peer.potential.config.name,
                    "system": system,
                    "atoms": len(atoms),
                    "pairs": len(peer.potential.structure(atoms).pairs),
                    "name": name,
                    "ours": name in works,
                    "largest_difference_eV_per_A": found.get(name),
                    **asdict(timing),
                }
            )
        jax.clear_caches()
    return records


def table(results: dict[str, Any]) -> str:
    """Return times and ratios as Markdown."""
    records = results["records"]
    modes = list(torchmdnet_peer.MODES)
    largest = {
        name: max(
            (r["largest_difference_eV_per_A"] for r in records if r["name"] == name), default=0.0
        )
        for name in (OURS, COMPRESSED)
    }
    lines = [
        "# AceFF against torchmd-net",
        "",
        "Energy and forces with the published weights, float32, on "
        f"{machine_line(results, 'torchmd-net', 'torch', 'warp-lang')}. "
        "Medians in ms, everybody in turns in one process; "
        "energies and forces were compared first: the largest difference of a force component is "
        f"{largest[OURS]:.0e} eV/Å, compressed {largest[COMPRESSED]:.0e}. torchmd-net's modes: "
        "Warp kernels or plain torch, with its own search for neighbors or with the list given. "
        "Ratio: the fastest of these over ours. *Compressed*: `tensornet-jax compress --elements "
        "H,C,N,O,S`, which a TensorNet2, whose filters know charges, does not have.",
        "",
        f"| potential | system | atoms | {' | '.join(modes)} | as published | ratio "
        "| compressed | ratio |",
        "|---|---|---:|" + "---:|" * (len(modes) + 4),
    ]
    for potential in dict.fromkeys(r["potential"] for r in records):
        ratios: dict[str, list[float]] = {}
        for system in SYSTEMS:
            own = {
                r["name"]: r
                for r in records
                if (r["potential"], r["system"]) == (potential, system)
            }
            fastest = min(r["median_s"] for r in own.values() if not r["ours"])
            cells = [f"{1e3 * own[mode]['median_s']:.1f}" for mode in modes]
            for name in (OURS, COMPRESSED):
                if name not in own:
                    cells += ["", ""]
                    continue
                ratio = fastest / own[name]["median_s"]
                ratios.setdefault(name, []).append(ratio)
                cells += [f"{1e3 * own[name]['median_s']:.2f}", f"{ratio:.2f}"]
            atoms = own[OURS]["atoms"]
            lines.append(f"| {potential} | {system} | {atoms} | {' | '.join(cells)} |")
        means = {name: f"*{geometric_mean(values):.2f}*" for name, values in ratios.items()}
        blank = " |" * len(modes)
        lines.append(
            f"| {potential} | *geometric mean* | |{blank} | {means[OURS]} "
            f"| | {means.get(COMPRESSED, '')} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write results.json and README.md."""
    parser = argparse.ArgumentParser(description="Time AceFF against torchmd-net.")
    parser.add_argument("checkpoints", nargs="+", type=Path, help=".ckpt or .npz")
    parser.add_argument("--folder", type=Path, help="default: results/MACHINE/aceff")
    arguments = parser.parse_args()
    folder = results_folder("aceff", arguments.folder)
    keep_freed_memory()
    for path in arguments.checkpoints:
        with precision_scope("float32"):
            records = run(path)
        keys, versions = ("potential", "system", "name"), torchmdnet_peer.VERSIONS
        results = add_records(folder, "aceff", records, keys, versions)
        (folder / "README.md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
