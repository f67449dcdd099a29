"""Time training steps by number of devices and processes: strong and weak scaling.

python benchmarks/training_scale.py [FOLDER] [--devices 1 2 4 8] [--processes 2] [--batch 32]

Every case is a process of its own with so many devices, or several processes with one device each.
On a CPU devices are simulated and share its cores, so that a machine of two cores cannot become
faster by more than that: what is seen there is what dividing, padding and exchanging cost. The loss
of the first step has to be that of one device before anything is timed.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import numpy as np
from ase.build import molecule
from ase.collections import g2
from results_file import add_records, machine_line, results_folder

from tensornet_jax.benchmark.collectives import exchanged_bytes
from tensornet_jax.benchmark.measure import compile_work
from tensornet_jax.graph.targets import Targets
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.runtime.devices import Devices
from tensornet_jax.runtime.memory import keep_freed_memory
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.runtime.processes import is_first, join_processes
from tensornet_jax.train.config.run import LossTerm, RunConfig
from tensornet_jax.train.data.batches import TrainingBatches
from tensornet_jax.train.data.capacities import Padding
from tensornet_jax.train.data.examples import Example, HeldExamples
from tensornet_jax.train.optimization.optimization import Optimization

BENCHMARK = "training_scale"
KEYS = ("scaling", "devices", "processes", "batch", "channels")
NUMBERS = (1, 6, 7, 8)
TERMS = {"energy": LossTerm(weight=1.0), "forces": LossTerm(weight=10.0)}
# Structures of a data set, in batches.
NUM_BATCHES = 8
# Of the loss of a first step in float32, relative.
AGREEMENT = 1e-5


def examples_of(potential: Potential, count: int) -> HeldExamples:
    """Return so many molecules of 2 to 14 atoms, rattled, with random labels."""
    known = [molecule(name) for name in g2.names]
    kinds = [atoms for atoms in known if len(atoms) > 1 and set(atoms.numbers) <= set(NUMBERS)]
    rng = np.random.default_rng(0)
    found = []
    for k in range(count):
        atoms = kinds[k % len(kinds)].copy()
        atoms.rattle(0.05, seed=k)
        labels = {"energy": np.array(rng.normal())}, {"forces": rng.normal(size=(len(atoms), 3))}
        found.append(Example(potential.structure(atoms), Targets(*labels), str(k)))
    return HeldExamples(found)


def work(batch: int, channels: int, steps: int) -> dict[str, Any]:
    """Time steps on all devices of all processes, and count what they exchange."""
    devices = Devices.of("all")
    model = TensorNetConfig(num_channels=channels)
    elements = ElementTable(NUMBERS, np.zeros(len(NUMBERS)))
    potential = create_potential(model, elements, seed=0)
    config = RunConfig.model_validate(
        {"directory": "-", "data": {"train": "-"}, "training": {"batch_size": batch, "epochs": 10}}
    )
    examples = examples_of(potential, NUM_BATCHES * batch)
    batches = TrainingBatches(config, examples, None, devices)
    with precision_scope("float32"):
        made = Optimization.from_config(config, potential, TERMS, NUM_BATCHES, (), 1.0, devices)
        state = devices.everywhere(made.start)
        scale, padding, losses, seconds = np.ones((), np.float32), Padding(), [], []
        graph, targets, _ = devices.shards(batches.collate(batches.plan[0]))
        for step in range(NUM_BATCHES + steps):
            indices = batches.plan[step]
            start = perf_counter()
            graph, targets, _ = devices.shards(batches.collate(indices))
            state, scalars = made.step(state, graph, targets, scale)
            losses.append(float(scalars["loss"]))
            seconds.append(perf_counter() - start)
            batches.count_padding(padding, indices)
        program = compile_work(made.step, state, graph, targets, scale).compiled.as_text()
    # Of the first batches each may have needed a compilation.
    median = float(np.median(seconds[NUM_BATCHES:]))
    return {
        "first_loss": losses[0],
        "seconds_per_step": median,
        "structures_per_second": batch / median,
        "padding": padding.fractions()[1],
        "parameters": potential.num_parameters,
        "exchanged_bytes": sum(exchanged_bytes(program or "").values()),
        "device": jax.devices()[0].device_kind,
    }


def run(arguments: argparse.Namespace, devices: int, processes: int, batch: int) -> dict[str, Any]:
    """Run one case in processes of its own and return what the first one found."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={devices // processes}"
    environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}"}
    command = [sys.executable, __file__, "--batch", str(batch), "--steps", str(arguments.steps)]
    command += ["--channels", str(arguments.channels), "--join"]
    started = [
        subprocess.Popen(
            [*command, f"localhost:{port}", str(processes), str(k)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(processes)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"{devices} devices in {processes} processes failed: see above")
    return json.loads(outputs[0].splitlines()[-1])


def cases_of(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the cases, those of one device first."""
    layouts = [(n, 1) for n in sorted({1, *arguments.devices})]
    layouts += [(n, n) for n in arguments.processes]
    found = []
    for scaling in arguments.scaling:
        for devices, processes in layouts:
            batch = arguments.batch * (devices if scaling == "weak" else 1)
            case = (scaling, devices, processes, batch, arguments.channels)
            found.append(dict(zip(KEYS, case, strict=True)))
    return found


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run all cases; each knows its efficiency against one device."""
    records: list[dict[str, Any]] = []
    losses: dict[int, float] = {}
    for case in cases_of(arguments):
        found = run(arguments, case["devices"], case["processes"], case["batch"])
        expected = losses.setdefault(case["batch"], found["first_loss"])
        if abs(found["first_loss"] - expected) > AGREEMENT * abs(expected):
            raise RuntimeError(f"{case}: the first loss is not that of other layouts, {expected}")
        one = next((r for r in records if r["scaling"] == case["scaling"]), found)
        if case["devices"] > 1 and found["exchanged_bytes"] < 4 * found["parameters"]:
            raise RuntimeError(f"{case}: gradients are not among what is exchanged")
        ratio = found["structures_per_second"] / one["structures_per_second"]
        records.append({**case, **found, "speedup": ratio})
        print(json.dumps(records[-1]), flush=True)
    return records


def write_page(folder: Path, results: dict[str, Any]) -> None:
    """Write the table."""
    header = (
        "| scaling | devices | processes | batch | channels | structures/s | speedup | "
        "padding of pairs | exchanged a step |"
    )
    rows = [
        f"| {r['scaling']} | {r['devices']} | {r['processes']} | {r['batch']} | {r['channels']} | "
        f"{r['structures_per_second']:.3g} | {r['speedup']:.2f} | {r['padding']:.0%} | "
        f"{r['exchanged_bytes'] / 1e6:.3g} MB |"
        for r in results["records"]
    ]
    page = [
        "# Training by number of devices and processes",
        "",
        f"TensorNet on molecules of 2 to 14 atoms, float32, on {machine_line(results)}.",
        "",
        header,
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *rows,
        "",
        "Exchanged: the results of all collective operations of the compiled step, gradients and",
        "numbers of labels; a ring moves about twice that through every device.",
    ]
    (folder / "README.md").write_text("\n".join(page) + "\n", encoding="utf-8")


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark, or one process of a case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--processes", type=int, nargs="*", default=[2])
    parser.add_argument("--scaling", nargs="*", default=["strong", "weak"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--join", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.join:
        coordinator, processes, process = arguments.join
        keep_freed_memory()
        join_processes(coordinator, int(processes), int(process))
        found = work(arguments.batch, arguments.channels, arguments.steps)
        if is_first():
            print(json.dumps(found))
        return
    folder = results_folder(BENCHMARK, arguments.folder)
    write_page(folder, add_records(folder, BENCHMARK, measure(arguments), KEYS, {}))


if __name__ == "__main__":
    main()
