"""Time what a step through the ASE calculator costs beside the model, at about 100 atoms.

python benchmarks/ase_overhead.py [FOLDER] [--layers 0 2] [--rounds 400]

A round times each: the compiled energy and forces on arrays that are on the device already,
the calculator, and steps of ASE's velocity Verlet. Differences are taken round by round, so that
what slows the machine for longer than a round falls out of them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import ase
import jax
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from evaluation_work import evaluation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder
from systems import water

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.runtime.memory import keep_freed_memory

CHANNELS, NUM_RADIAL, CUTOFF = 128, 32, 4.5
MOLECULES = 34
TIMESTEP, TEMPERATURE = 0.5, 30.0
# Steps before velocities are reversed, so that the neighbor list holds.
THERE_AND_BACK = 20
MOST = 0.3
"""ms a step through the calculator may cost more than the model."""
BARE, TIGHT = "energy and forces, compiled", "the same, list without skin"
CALCULATE, FORCES = "calculate", "get_forces"
STEP, IDLE = "velocity Verlet", "velocity Verlet, no forces"
LABELS = {
    BARE: "on the device, the calculator's own arrays",
    TIGHT: "arrays without skin and headroom",
    CALCULATE: "`TensorNetCalculator.calculate`",
    FORCES: "`atoms.get_forces()`: ASE looks what has changed, calls `calculate`, copies",
    STEP: "a whole step of ASE's `VelocityVerlet`",
    IDLE: "such a step with a calculator that does nothing",
}


class Idle(Calculator):
    """No forces at no cost."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE declares it)

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Say that everything has changed."""
        return list(all_changes)

    def calculate(self, atoms: Any = None, properties: Any = (), system_changes: Any = ()) -> None:
        """Return zeros."""
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def bare(potential: Potential, graph: AtomGraph) -> Callable[[], Any]:
    """Return the compiled function on arrays of the device."""
    work = evaluation(potential, graph, ("energies", "forces"))
    return lambda: jax.block_until_ready(work())


def dynamics(
    atoms: ase.Atoms, calculator: Calculator, rng: np.random.Generator
) -> Callable[[], np.ndarray]:
    """Return a step of dynamics of a copy of the atoms."""
    moving, steps = atoms.copy(), 0
    moving.calc = calculator
    thermalize_momenta(moving, temperature_K=TEMPERATURE, rng=rng)
    verlet = VelocityVerlet(moving, TIMESTEP * units.fs)

    def step() -> np.ndarray:
        nonlocal steps
        steps += 1
        if steps % THERE_AND_BACK == 0:
            moving.set_momenta(-moving.get_momenta())
        return verlet.step()

    return step


def run(layers: int, rounds: int) -> list[dict[str, Any]]:
    """Time all, round by round."""
    config = TensorNetConfig(
        num_channels=CHANNELS, num_layers=layers, num_radial=NUM_RADIAL, cutoff=CUTOFF
    )
    # Weak forces: neighbors stay neighbors.
    potential = create_potential(
        config, ElementTable((1, 8), np.zeros(2)), seed=0, energy_scale=0.05
    )
    atoms = water(4)[: 3 * MOLECULES]
    assert isinstance(atoms, ase.Atoms)
    atoms.pbc, atoms.cell = False, np.zeros((3, 3))
    calculator = TensorNetCalculator(potential)
    atoms.calc = calculator
    atoms.get_forces()
    assert calculator._evaluator.neighborhood is not None
    tight = potential.structure(atoms)
    rng = np.random.default_rng(0)
    own = TensorNetCalculator(potential)
    places = atoms.positions + rng.normal(0, 0.01, (64, *atoms.positions.shape))
    turn = 0

    def moved() -> ase.Atoms:
        nonlocal turn
        turn += 1
        atoms.positions = places[turn % len(places)]
        return atoms

    with potential.precision():
        graph = to_device(batch_structures([tight], Capacity.holding([tight]), potential.dtype))
        contenders = {
            BARE: bare(potential, calculator._evaluator.neighborhood.graph),
            TIGHT: bare(potential, graph),
        }
    contenders |= {
        CALCULATE: lambda: calculator.calculate(moved(), ["forces"], ["positions"]),
        FORCES: lambda: moved().get_forces(),
        STEP: dynamics(atoms, own, rng),
        IDLE: dynamics(atoms, Idle(), rng),
    }
    times = np.array([[seconds(work) for work in contenders.values()] for _ in range(rounds + 5)])
    times = dict(zip(contenders, 1e3 * times[5:].T, strict=True))
    renewed = calculator.num_rebuilds + own.num_rebuilds
    if renewed > 2:
        raise RuntimeError(f"{renewed - 2} neighbor lists were renewed: they are not to be timed")
    records = []
    for name, values in times.items():
        record = {"layers": layers, "name": name, "atoms": len(atoms), "rounds": rounds}
        record |= quartiles("ms", values) | quartiles("over_ms", values - times[BARE])
        records.append(record)
        print(f"{layers} layers, {name}: {record['ms']:.3f} ms, {record['over_ms']:+.3f}")
    return records


def seconds(work: Callable[[], Any]) -> float:
    """Return the time of the second of two calls, which finds the caches as a run leaves them."""
    work()
    start = perf_counter()
    work()
    return perf_counter() - start


def quartiles(name: str, values: np.ndarray) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {name: float(middle), f"{name}_lower": float(low), f"{name}_upper": float(high)}


def table(results: dict[str, Any]) -> str:
    """Return times and differences as Markdown."""
    records = results["records"]
    lines = [
        "# What a step through ASE costs beside the model",
        "",
        f"A cluster of {MOLECULES} water molecules, {3 * MOLECULES} atoms; TensorNet with "
        f"{CHANNELS} channels, {NUM_RADIAL} expnorm functions, cutoff {CUTOFF} Å, float32, on "
        f"{machine_line(results, 'ase')}. Each is called twice a round and "
        "the second call is timed. Over the model: median (and quartiles) of the differences to "
        f"the compiled energy and forces of the same round; up to {MOST} ms are wanted. Neighbor "
        "lists are not renewed meanwhile. Freed memory stays with the process, as in our command "
        "line.",
        "",
        "![overhead](ase_overhead.png)",
    ]
    for layers in sorted({r["layers"] for r in records}):
        lines += ["", f"## {layers} layers", "", "| | ms | over the model, ms |", "|---|---:|---:|"]
        for r in (r for r in records if r["layers"] == layers):
            over = (
                f"{r['over_ms']:+.2f} ({r['over_ms_lower']:+.2f} to {r['over_ms_upper']:+.2f})"
                if r["name"] not in (BARE, IDLE)
                else ""
            )
            lines.append(f"| {LABELS[r['name']]} | {r['ms']:.2f} | {over} |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw what is spent over the fastest model, which shows it best."""
    records = results["records"]
    layers = min(r["layers"] for r in records)
    own = {r["name"]: r for r in records if r["layers"] == layers}
    names = (CALCULATE, FORCES, STEP)
    low, middle, high = (
        np.array([own[name][f"over_ms{quartile}"] for name in names])
        for quartile in ("_lower", "", "_upper")
    )
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.bar(names, middle, 0.5, yerr=[middle - low, high - middle], capsize=4)
    axes.axhline(MOST, color="k", linewidth=0.8)
    axes.set_ylabel("over the model (ms)")
    axes.set_title(f"{own[BARE]['atoms']} atoms, {layers} layers, model {own[BARE]['ms']:.1f} ms")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run and write results.json, README.md and ase_overhead.png."""
    parser = argparse.ArgumentParser(description="Time what ASE's interface costs.")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="default: results/MACHINE/ase_overhead"
    )
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=400)
    arguments = parser.parse_args()
    keep_freed_memory()
    folder = results_folder("ase_overhead", arguments.folder)
    for layers in arguments.layers:
        records = run(layers, arguments.rounds)
        results = add_records(
            folder, "ase_overhead", records, ("layers", "name"), {"ase": ase.__version__}
        )
        (folder / "README.md").write_text(table(results), encoding="utf-8")
        plot(results, folder / "ase_overhead.png")


if __name__ == "__main__":
    main()
