"""Time molecular dynamics of TensorNet: through ASE, against torchmd-net, and on the device.

pip install torch torchmd-net
python benchmarks/md.py [FOLDER] [--parts ase engine replicas] [--layers 2] [--systems NAME ...]

ase: ethanol through ASE, this package's calculator against torchmd-net's with the same weights.
engine: this package's dynamics on the device against its calculator in ASE.
replicas: many ethanols at once on the device.

Everybody starts from the same positions and velocities, and after the first steps positions are
compared. What is asked for replaces what the folder's results have of it, so that it can be run in
pieces.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import jax
import numpy as np
import torchmdnet_peer
from ase import Atoms
from dynamics import TEMPERATURE, TIMESTEP, Dynamics, InAse, OnDevice, started
from md_report import AS_TRAINED, COMPRESSED, Record, Results, plot, report
from results_file import add_records, machine_line, results_folder
from systems import nine_systems

from tensornet_jax.benchmark.measure import alternate
from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.runtime.memory import keep_freed_memory

CHANNELS, NUM_RADIAL, CUTOFF = 128, 32, 4.5
REPLICAS = (1, 10, 100, 1000)
# Steps in a sample: as many as take so many seconds, within bounds.
SECONDS, FEWEST, MOST = 1.0, 4, 50
# Å that positions may differ after the first sample; all compute in float32.
AGREEMENT = 1e-3
PARTS = ("ase", "engine", "replicas")
KEYS = ("part", "layers", "system", "replicas", "name")


@cache
def potentials_of(layers: int) -> dict[str, Potential]:
    """Return the network with the systems' elements, as trained and compressed."""
    peer = torchmdnet_peer.build(torchmdnet_peer.arguments(CHANNELS, layers, NUM_RADIAL, CUTOFF))
    own = torchmdnet_peer.with_own_elements(peer.potential, list(nine_systems().values()))
    return {AS_TRAINED: own, COMPRESSED: compress(own)}


def run_ase(layers: int) -> list[Record]:
    """Ethanol through ASE: torchmd-net's calculator in its modes, and ours."""
    atoms = started(nine_systems()["ethanol"])
    peer = torchmdnet_peer.build(torchmdnet_peer.arguments(CHANNELS, layers, NUM_RADIAL, CUTOFF))
    contenders: dict[str, Dynamics] = {
        f"torchmd-net, {mode}": InAse(atoms, torchmdnet_peer.calculator(peer, mode))
        for mode in torchmdnet_peer.CALCULATORS
    }
    potentials = {"100 elements": peer.potential, **potentials_of(layers)}
    for name, potential in potentials.items():
        contenders[f"ASE, {name}"] = InAse(atoms, TensorNetCalculator(potential))
    return timed("ase", layers, "ethanol", atoms, contenders)


def run_engine(layers: int, system: str) -> list[Record]:
    """Both ways of this package on one system."""
    atoms = started(nine_systems()[system])
    contenders: dict[str, Dynamics] = {}
    for name, potential in potentials_of(layers).items():
        contenders[f"ASE, {name}"] = InAse(atoms, TensorNetCalculator(potential))
        contenders[f"device, {name}"] = OnDevice(potential, [atoms])
    return timed("engine", layers, system, atoms, contenders)


def run_replicas(layers: int, count: int) -> list[Record]:
    """Ethanols at once, each with its own velocities."""
    atoms = nine_systems()["ethanol"]
    starts = [started(atoms, seed) for seed in range(count)]
    contenders: dict[str, Dynamics] = {
        f"device, {name}": OnDevice(potential, starts)
        for name, potential in potentials_of(layers).items()
    }
    return timed("replicas", layers, "ethanol", atoms, contenders, count)


def timed(
    part: str,
    layers: int,
    system: str,
    atoms: Atoms,
    contenders: dict[str, Dynamics],
    replicas: int = 1,
) -> list[Record]:
    """Compare positions after some steps, then time all in turns, to and fro."""
    seconds = {}
    for name, each in contenders.items():
        each.advance(1)
        begin = perf_counter()
        each.advance(1)
        seconds[name] = perf_counter() - begin
    steps = int(np.clip(SECONDS / max(seconds.values()), FEWEST, MOST))
    for each in contenders.values():
        each.advance(steps)
    reference = next(iter(contenders.values())).positions()
    deviations = {
        name: float(abs(each.positions() - reference).max()) for name, each in contenders.items()
    }
    for name, deviation in deviations.items():
        if not deviation <= AGREEMENT:
            raise RuntimeError(
                f"{part}, {layers} layers, {system}: after {steps + 2} steps {name} is up to "
                f"{deviation:.1e} Å from {next(iter(contenders))}"
            )

    def to_and_fro(each: Dynamics) -> None:
        each.turn_around()
        each.advance(steps)

    works = [partial(to_and_fro, each) for each in contenders.values()]
    timings = alternate(works, seconds=2 * SECONDS, fewest=5, warm_up=1)
    records = []
    for name, timing in zip(contenders, timings, strict=True):
        times = {key: value / steps for key, value in asdict(timing).items() if key != "samples"}
        rate = replicas / times["median_s"]
        records.append(
            {
                "part": part,
                "layers": layers,
                "system": system,
                "replicas": replicas,
                "name": name,
                "atoms": len(atoms) * replicas,
                "steps_in_a_sample": steps,
                "samples": timing.samples,
                **times,
                "steps_per_s": rate,
                "atom_steps_per_s": rate * len(atoms),
                "ns_per_day": rate * TIMESTEP * 86400e-6,
                "position_deviation": deviations[name],
            }
        )
        print(f"{part}, {layers} layers, {system}, {replicas} × {name}: {rate:.1f} steps/s")
    return records


def heading(results: Results) -> str:
    """Return what was done, on what."""
    return (
        f"{CHANNELS} channels, {NUM_RADIAL} expnorm functions, cutoff {CUTOFF} Å, random weights, "
        f"float32, constant energy, {TIMESTEP} fs, from velocities of {TEMPERATURE:g} K; on "
        f"{machine_line(results, 'ase', 'torchmd-net', 'torch', 'warp-lang')}. "
        "A sample is a number of "
        "steps, after which velocities are reversed, so that structures stay what they are; "
        "neighbor lists are renewed on the way. Medians of samples, everybody in turns in one "
        "process; positions were compared first. Freed memory stays with the process for all, as "
        "in our command line. *Own elements*: the network's table holds those of the "
        "systems, H, C, N and O; *100 elements*: torchmd-net's table. *Compressed*: to 1e-5, with "
        "own elements."
    )


def main() -> None:
    """Run what is asked for and write results.json, README.md and md.png."""
    systems = list(nine_systems())
    parser = argparse.ArgumentParser(description="Time molecular dynamics.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/md")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems, help="of engine")
    parser.add_argument("--replicas", type=int, nargs="+", default=REPLICAS)
    arguments = parser.parse_args()
    keep_freed_memory()
    folder = results_folder("md", arguments.folder)
    enable_compilation_cache()
    runs: list[Callable[[], list[Record]]] = []
    for layers in arguments.layers:
        if "ase" in arguments.parts:
            runs.append(partial(run_ase, layers))
        if "engine" in arguments.parts:
            runs += [partial(run_engine, layers, system) for system in arguments.systems]
        if "replicas" in arguments.parts:
            runs += [partial(run_replicas, layers, count) for count in arguments.replicas]
    for run in runs:
        versions = torchmdnet_peer.VERSIONS | {"ase": version("ase")}
        results = add_records(folder, "md", run(), KEYS, versions)
        text = report(results, heading(results))
        (folder / "README.md").write_text(text, encoding="utf-8")
        plot(results, folder / "md.png")
        jax.clear_caches()


if __name__ == "__main__":
    main()
