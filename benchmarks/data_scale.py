"""Memory and waiting of training by number of structures, which are read when they are needed.

python benchmarks/data_scale.py [FOLDER] [--structures 10000 100000] [--base FILE] [--channels 8]

Structures are made by displacing and repeating those of a file, and packed once. For each number a
run passes over all of them and takes some steps; then another process goes on, which remembers the
pass. Memory is the largest resident size of each process, pages of files included.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results_file import add_records, results_folder

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.data.sources.packing import packing

BASE = Path(__file__).parents[1] / "tensornet_jax/data/examples/ethanol_gfn2/train.xyz"
DISPLACEMENT = 0.01  # Å
PIECES = ("with the pass", "resumed")


def displaced(base: list[LabelledStructure], count: int) -> Iterator[LabelledStructure]:
    """Yield so many structures, each an atom-wise displaced one of the base; labels stay."""
    rng = np.random.default_rng(0)
    for index in range(count):
        structure = base[index % len(base)]
        atoms = structure.atoms.copy()
        atoms.positions += DISPLACEMENT * rng.normal(size=atoms.positions.shape)
        yield replace(structure, atoms=atoms, source=f"displaced:{index}")


def piece(config: dict[str, Any], steps: int) -> None:
    """Run one piece of a training in this process, and print what it cost."""
    from tensornet_jax.train import loop
    from tensornet_jax.train.config.run import RunConfig
    from tensornet_jax.train.reporting.reporter import Reporter
    from tensornet_jax.train.run import train

    began, waited, asked = time.monotonic(), [], []

    def timed(batches: Iterator[Any]) -> Iterator[Any]:
        for _ in range(10**9):
            start = time.monotonic()
            try:
                batch = next(batches)
            except StopIteration:
                return
            waited.append(time.monotonic() - start)
            yield batch

    class Stopping(Reporter):
        def step(self, report: Any) -> None:
            asked.append(time.monotonic())
            if len(asked) == steps:
                os.kill(os.getpid(), signal.SIGINT)

    original = loop.batches
    loop.batches = lambda *arguments: timed(original(*arguments))
    train(RunConfig.model_validate(config), resume=True, reporter=Stopping())
    # The first steps compile.
    settled = max(len(asked) // 4, 1)
    spent = asked[-1] - asked[settled]
    found = {
        "seconds to the first step": asked[0] - began,
        "steps per second": (len(asked) - 1 - settled) / spent,
        "share of time waiting for data": sum(waited[settled + 1 : len(asked)]) / spent,
        "resident MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


def measure(count: int, arguments: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """Pack so many structures and train on them in two processes."""
    packed = scratch / f"{count}.packed"
    seconds = None
    if not packed.exists():
        began = time.monotonic()
        with packing(packed) as packer:
            for structure in displaced(read_labelled(arguments.base), count):
                packer.add(structure)
        seconds = time.monotonic() - began
    config = {
        "directory": str(scratch / f"run_{count}_{arguments.channels}"),
        "data": {"train": str(packed), "validation": min(200, count // 10), "stream": True},
        "model": {"name": "tensornet", "num_channels": arguments.channels, "num_layers": 0},
        "training": {"batch_size": arguments.batch, "epochs": 100},
        "optimizer": {"schedule": {"name": "constant"}},
    }
    records = []
    for name in PIECES:
        command = [sys.executable, __file__, "--piece", json.dumps(config)]
        command += ["--steps", str(arguments.steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        case = {"structures": count, "channels": arguments.channels, "batch": arguments.batch}
        size = {"packed MB": packed.stat().st_size / 1e6, "seconds of packing": seconds}
        records.append({**case, "piece": name, **size, **found})
        print(records[-1], flush=True)
    return records


def report(results: dict[str, Any]) -> str:
    """Return the page."""
    machine = results["machine"]
    lines = [
        "# Training on data that stay on disk",
        "",
        "Displaced copies of ethanol, packed, streamed; TensorNet without layers, batches of "
        f"{results['records'][0]['batch']}; on {machine['processor'] or machine['device']}, "
        f"{machine['threads']} threads. *First*: a run that passes over all structures before its "
        "first step. *Resumed*: another process that goes on with it. Memory is the largest "
        "resident size, pages of files included.",
        "",
        "| structures | packed, MB | channels | run | s to the first step | steps/s | waiting for "
        "data | memory, MB |",
        "|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for r in sorted(results["records"], key=lambda r: (r["channels"], r["structures"])):
        run = "first" if r["piece"] == PIECES[0] else "resumed"
        lines.append(
            f"| {r['structures']:,} | {r['packed MB']:.0f} | {r['channels']} | {run} | "
            f"{r['seconds to the first step']:.0f} | {r['steps per second']:.0f} | "
            f"{r['share of time waiting for data']:.0%} | {r['resident MB']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is asked for and put it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--structures", nargs="+", type=int, default=[10_000, 100_000])
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--scratch", type=Path, default=Path("data_scale"))
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.piece:
        piece(json.loads(arguments.piece), arguments.steps)
        return
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    folder = results_folder("data_scale", arguments.folder)
    keys = ("structures", "channels", "batch", "piece")
    for count in arguments.structures:
        records = measure(count, arguments, arguments.scratch)
        results = add_records(folder, "data_scale", records, keys, {})
        (folder / "README.md").write_text(report(results), encoding="utf-8")


if __name__ == "__main__":
    main()
