"""Time a training step of TensorNet against torchmd-net's with the same weights.

pip install torch torchmd-net
python benchmarks/training.py [FOLDER] [--layers 0 1 2] [--batch 8]

Loss and gradient of both packages are compared first. Then torchmd-net in each of its modes and
this package take turns in one process. What is asked for replaces what the folder's results have
of it, so that numbers of layers can be run one at a time.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase
import jax
import numpy as np
import optax
import torchmdnet_peer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder
from systems import nine_systems

from tensornet_jax.benchmark.machine import costs, measure_peaks
from tensornet_jax.benchmark.measure import Work, alternate, compile_work
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.graph.targets import Targets, batch_targets
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.memory import keep_freed_memory
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.train.config.run import LossTerm, OptimizerConfig
from tensornet_jax.train.optimization.optimizer import learning_rate_schedule, make_optimizer
from tensornet_jax.train.optimization.state import TrainState
from tensornet_jax.train.optimization.step import TrainStep

CHANNELS, NUM_RADIAL, CUTOFF = 128, 32, 4.5
LEARNING_RATE = 1e-4
ENERGY_WEIGHT, FORCES_WEIGHT = 1.0, 10.0
# Å by which the atoms of the structures are displaced at random, so that no two are alike.
RATTLE = 0.05
# Of the loss, and of the norm of the gradient; both compute in float32.
AGREEMENT = {"loss": 3e-5, "gradient": 3e-4}
OURS = {
    "tensornet_jax": "torchmd-net's table of 100 elements",
    "tensornet_jax, own elements": "the elements of the data",
}


def rattled_aspirins(count: int) -> list[ase.Atoms]:
    """Return so many aspirins that differ."""
    aspirin = nine_systems()["aspirin"]
    found = []
    for seed in range(count):
        atoms = aspirin.copy()
        atoms.rattle(RATTLE, seed=seed)
        found.append(atoms)
    return found


def random_labels(structures: Sequence[ase.Atoms]) -> tuple[np.ndarray, np.ndarray]:
    """Return energies (B,) and forces (3N,); any do, since the work does not depend on them."""
    rng = np.random.default_rng(0)
    atoms = sum(map(len, structures))
    return rng.normal(size=len(structures)), rng.normal(size=3 * atoms)


class OurStep:
    """A step as training takes it, on arrays padded as training pads them."""

    def __init__(
        self,
        potential: Potential,
        structures: Sequence[ase.Atoms],
        labels: tuple[np.ndarray, np.ndarray],
    ) -> None:
        prepared = [potential.structure(atoms) for atoms in structures]
        capacity = Capacity.holding(prepared)
        forces = np.split(labels[1].reshape(-1, 3), np.cumsum([len(s) for s in prepared])[:-1])
        targets = [
            Targets({"energy": e}, {"forces": f}) for e, f in zip(labels[0], forces, strict=True)
        ]
        self.graph: AtomGraph = to_device(batch_structures(prepared, capacity, "float32"))
        self.targets: Targets = to_device(batch_targets(targets, capacity, "float32"))
        self.potential = potential
        self.scale = np.ones((), np.float32)
        config = OptimizerConfig(name="adamw", learning_rate=LEARNING_RATE)
        schedule = learning_rate_schedule(config, 10**6, 10**6)
        self.train_step, self.state = self._made(make_optimizer(config, schedule))

    def _made(self, optimizer: optax.GradientTransformation) -> tuple[TrainStep, TrainState]:
        terms = {"energy": LossTerm(weight=ENERGY_WEIGHT), "forces": LossTerm(weight=FORCES_WEIGHT)}
        step = TrainStep(
            self.potential, terms, optimizer, optax.constant_schedule(LEARNING_RATE), None
        )
        return step, TrainState.create(
            self.potential.variables["params"], optimizer, averaging=False
        )

    def __call__(self) -> jax.Array:
        """Take a step and return the loss before it."""
        self.state, scalars = self.train_step(self.state, self.graph, self.targets, self.scale)
        return scalars["loss"]

    def loss_and_gradient(self) -> tuple[float, dict[Any, Any]]:
        """Return what a step differentiates: an optimizer that keeps the gradient is given it."""
        step, state = self._made(optax.trace(decay=0.0))
        state, scalars = step(state, self.graph, self.targets, self.scale)
        kept = state.optimizer
        assert isinstance(kept, optax.TraceState)
        gradient = kept.trace
        assert isinstance(gradient, dict)
        return float(scalars["loss"]), gradient

    def compiled(self) -> Work:
        """Return the step for its memory and operations; it is not what is timed."""
        arguments = self.state, self.graph, self.targets, self.scale
        return compile_work(lambda *arguments: self.train_step(*arguments), *arguments)


def check(name: str, ours: tuple[float, Any], loss: float, gradient: Potential) -> dict[str, float]:
    """Return how far loss and gradient are apart, relative; raise if it is beyond rounding."""
    expected = gradient.variables["params"]
    difference = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), ours[1], expected)
    found = {
        "loss": abs(ours[0] - loss) / abs(loss),
        "gradient": float(optax.tree.norm(difference) / optax.tree.norm(expected)),
    }
    for quantity, deviation in found.items():
        if not deviation <= AGREEMENT[quantity]:
            raise RuntimeError(f"{name}: {quantity} differs from torchmd-net's by {deviation:.1e}")
    return {f"{quantity}_deviation": value for quantity, value in found.items()}


def run(layers: int, batch: int) -> list[dict[str, Any]]:
    """Compare, then time all contenders in turns."""
    structures = rattled_aspirins(batch)
    labels = random_labels(structures)
    peer = torchmdnet_peer.build(torchmdnet_peer.arguments(CHANNELS, layers, NUM_RADIAL, CUTOFF))
    few = torchmdnet_peer.with_own_elements(peer.potential, structures)
    potentials = dict(zip(OURS, (peer.potential, few), strict=True))
    ours = {name: OurStep(potential, structures, labels) for name, potential in potentials.items()}
    # The loss here is of energies per atom.
    weights = ENERGY_WEIGHT / len(structures[0]) ** 2, FORCES_WEIGHT
    peers, gradients = {}, {}
    for mode in torchmdnet_peer.MODES:
        peers[mode], gradient = torchmdnet_peer.training_step(
            peer, structures, labels, weights, LEARNING_RATE, mode
        )
        gradients[mode] = gradient()
    deviations = {}
    for name, step in ours.items():
        found, numbers = step.loss_and_gradient(), step.potential.elements.numbers
        of_modes = [
            check(f"{layers} layers, {name}, {mode}", found, loss, with_elements(gradient, numbers))
            for mode, (loss, gradient) in gradients.items()
        ]
        deviations[name] = {key: max(each[key] for each in of_modes) for key in of_modes[0]}
    works = {name: step.compiled() for name, step in ours.items()}
    contenders: dict[str, Callable[[], Any]] = {**ours, **peers}
    timings = alternate(list(contenders.values()), seconds=5.0, warm_up=3)
    peaks = measure_peaks("float32")
    records = []
    for name, timing in zip(contenders, timings, strict=True):
        record = {
            "layers": layers,
            "structures": batch,
            "atoms": sum(map(len, structures)),
            "name": name,
            "ours": name in ours,
            **asdict(timing),
            "atom_steps_per_s": sum(map(len, structures)) / timing.median_s,
        }
        if name in ours:
            record |= deviations[name] | costs(works[name], timing.median_s, peaks)
            record |= {"peaks": asdict(peaks)}
        records.append(record)
        print(f"{layers} layers, {name}: {1e3 * timing.median_s:.1f} ms", flush=True)
    jax.clear_caches()
    return records


def pick(records: list[dict[str, Any]], layers: int) -> dict[str, dict[str, Any]]:
    """Return the records of a number of layers by name."""
    return {r["name"]: r for r in records if r["layers"] == layers}


def ratio(records: list[dict[str, Any]], layers: int, name: str) -> float:
    """Time of torchmd-net's fastest mode over that of one of ours."""
    own = pick(records, layers)
    return min(r["median_s"] for r in own.values() if not r["ours"]) / own[name]["median_s"]


def table(results: dict[str, Any]) -> str:
    """Return times, ratios, memory and the fraction of peak as Markdown."""
    records = results["records"]
    lines = [
        "# A training step of TensorNet against torchmd-net",
        "",
        f"{records[0]['structures']} aspirins whose atoms are displaced at random, "
        f"{records[0]['atoms']} atoms in all; {CHANNELS} channels, {NUM_RADIAL} expnorm functions, "
        f"cutoff {CUTOFF} Å, the same random weights, float32, on "
        f"{machine_line(results, 'torchmd-net', 'torch', 'warp-lang')}. "
        "A step is the loss (mean squared errors of energies "
        "and forces), its gradient, and AdamW: here `TrainStep`, as `tensornet-jax train` runs it; "
        "there the network in training mode, `backward()`, and torch's fused AdamW. Batches are "
        "made beforehand, and freed memory stays with the process, as in our command line. "
        "Medians in ms (and quartiles), everybody in turns in one process; loss "
        "and gradient were compared first. torchmd-net's modes: Warp kernels or plain torch, with "
        "its own search for neighbors or with the list given. Ratio: the fastest of these over "
        "ours. With *100 elements* the network here has torchmd-net's table; with *own elements* "
        "the rows of C, H and O alone, which is what training here would give it.",
        "",
        "![times](training.png)",
        "",
        "| layers | "
        + " | ".join(torchmdnet_peer.MODES)
        + " | 100 elements | ratio | own elements | ratio |",
        "|---:|" + "---:|" * (len(torchmdnet_peer.MODES) + 4),
    ]
    depths = sorted({r["layers"] for r in records})
    for layers in depths:
        own = pick(records, layers)
        cells = [milliseconds(own[mode]) for mode in torchmdnet_peer.MODES]
        for name in OURS:
            cells += [milliseconds(own[name]), f"**{ratio(records, layers, name):.2f}**"]
        lines.append(f"| {layers} | {' | '.join(cells)} |")
    lines += [
        "",
        "Memory: XLA's temporary arrays, and arguments and results. Fraction of peak: operations "
        "at the speed of a large matrix product, or bytes at that of a large copy, over the time; "
        "the larger. Deviation: of the gradient from torchmd-net's, relative to its norm.",
        "",
        "| layers | elements | atoms·steps/s | temporary MB | held MB | GFLOP | fraction of peak "
        "| bound by | deviation | compile, s |",
        "|---:|---|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for layers in depths:
        for name, elements in zip(OURS, ("100", "own"), strict=True):
            r = pick(records, layers)[name]
            lines.append(
                f"| {layers} | {elements} | {r['atom_steps_per_s']:,.0f} "
                f"| {r['temporary_bytes'] / 1e6:.0f} | {r['held_bytes'] / 1e6:.0f} "
                f"| {r['flops'] / 1e9:.2f} | {r['fraction_of_peak']:.2f} | {r['bound']} "
                f"| {r['gradient_deviation']:.0e} | {r['compile_s']:.0f} |"
            )
    lines += [
        "",
        "MACE against mlip and mace-torch, a step on the same work: "
        "[mace_peers](../mace_peers/README.md).",
    ]
    return "\n".join(lines) + "\n"


def milliseconds(record: dict[str, Any]) -> str:
    """Return median and quartiles."""
    middle, low, high = (
        1e3 * record[f"{key}_s"] for key in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{middle:.1f} ({low:.1f}–{high:.1f})"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw a bar for each contender, grouped by the number of layers."""
    records = results["records"]
    depths = sorted({r["layers"] for r in records})
    names = [*torchmdnet_peer.MODES, *OURS]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for k, name in enumerate(names):
        own = [pick(records, layers)[name] for layers in depths]
        where = np.arange(len(depths)) + 0.8 * (k / len(names) - 0.5)
        color = f"C{k - len(torchmdnet_peer.MODES)}" if name in OURS else str(0.45 + 0.12 * k)
        label = name if name in OURS else f"torchmd-net, {name}"
        times = [1e3 * r["median_s"] for r in own]
        axes.bar(where, times, 0.8 / len(names), align="edge", color=color, label=label)
    axes.set_xticks(range(len(depths)), [f"{layers} layers" for layers in depths])
    axes.set_ylabel("training step (ms)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run and write results.json, README.md and training.png."""
    parser = argparse.ArgumentParser(description="Time training against torchmd-net.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/training")
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch", type=int, default=8, help="aspirins at once")
    arguments = parser.parse_args()
    keep_freed_memory()
    folder = results_folder("training", arguments.folder)
    for layers in arguments.layers:
        with precision_scope("float32"):
            records = run(layers, arguments.batch)
        versions = torchmdnet_peer.VERSIONS
        results = add_records(folder, "training", records, ("layers", "name"), versions)
        (folder / "README.md").write_text(table(results), encoding="utf-8")
        plot(results, folder / "training.png")


if __name__ == "__main__":
    main()
