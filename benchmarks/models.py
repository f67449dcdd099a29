"""Time the models on the same structures: energy and forces, and the gradient of a training step.

python benchmarks/models.py STRUCTURES [FOLDER] [--batch 5] [--channels 64]

STRUCTURES is whatever ASE reads. All models take turns in one run, so their ratios can be trusted
where the times themselves depend on the machine.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase
import ase.io
import jax
import jax.numpy as jnp
import numpy as np
from results_file import machine_line

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name
from tensornet_jax.benchmark.measure import alternate, compile_work
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.models import MODELS
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.prediction import predict

RESULTS = Path(__file__).parent / "results"
CUTOFF = 5.0
PRODUCTS = ("clebsch_gordan", "gaunt_grid", "matrix")

LABELS = {"energy_forces": "energy + forces", "training_step": "training step"}


def configurations(channels: int) -> dict[str, dict[str, Any]]:
    """Return the models by name: MACE at three sizes of hidden irreps with several products."""
    found: dict[str, dict[str, Any]] = {
        "tensornet": {"name": "tensornet", "num_channels": channels}
    }
    for hidden in (1, 2, 3):
        for product in PRODUCTS:
            found[f"mace L={hidden} {product}"] = {
                "name": "mace",
                "num_channels": channels,
                "hidden_l_max": hidden,
                "l_max": 3,
                "product": product,
            }
        found[f"mace L={hidden} clebsch_gordan, many-body gaunt_grid"] = {
            **found[f"mace L={hidden} clebsch_gordan"],
            "many_body_product": "gaunt_grid",
        }
    for l_max in (1, 2, 3):
        found[f"escn l_max={l_max}"] = {
            "name": "escn",
            "num_channels": channels,
            "hidden_channels": channels,
            "l_max": l_max,
            "m_max": min(l_max, 2),
        }
    # One network evaluated in two ways. Few channels: the long way writes much down.
    for l_max in (1, 2, 3, 4):
        for convolution in ("so2", "clebsch_gordan"):
            found[f"escn,narrow l_max={l_max} {convolution}"] = {
                "name": "escn",
                "num_channels": channels // 4,
                "hidden_channels": channels // 4,
                "l_max": l_max,
                "m_max": None,
                "convolution": convolution,
            }
    return found


def untrained(options: dict[str, Any], structures: Sequence[ase.Atoms]) -> Potential:
    """Return the potential for the elements of the structures, float32."""
    config = MODELS[options["name"]][0].model_validate({"cutoff": CUTOFF} | options)
    numbers = tuple(sorted({int(z) for atoms in structures for z in atoms.numbers}))
    elements = ElementTable(numbers, np.zeros(len(numbers)))
    prepared = [create_potential(config, elements, seed=0)]
    neighbors = [2 * len(prepared[0].structure(a).pairs) / len(a) for a in structures]
    return prepared[0].replace(config=config.fitted(float(np.mean(neighbors))))


def tasks_of(potential: Potential) -> dict[str, Callable[..., Any]]:
    """Return what is timed: functions of variables and graph."""

    def energy_forces(variables: dict[str, Any], graph: AtomGraph) -> dict[str, jax.Array]:
        return predict(potential.module, variables, graph, ("energy", "forces"))

    def loss(variables: dict[str, Any], graph: AtomGraph) -> jax.Array:
        found = energy_forces(variables, graph)
        # Any labels do: the work does not depend on them.
        return jnp.mean((found["energy"] - 1) ** 2) + jnp.mean((found["forces"] - 1) ** 2)

    return {"energy_forces": energy_forces, "training_step": jax.value_and_grad(loss)}


def run(structures: Sequence[ase.Atoms], channels: int) -> dict[str, Any]:
    """Compile everything, then time it in turns."""
    works, records = [], []
    for label, options in configurations(channels).items():
        potential = untrained(options, structures)
        prepared = [potential.structure(atoms) for atoms in structures]
        graph = to_device(batch_structures(prepared, Capacity.holding(prepared), "float32"))
        for task, function in tasks_of(potential).items():
            work = compile_work(function, potential.variables, graph)
            works.append(work)
            records.append(
                {
                    "model": label,
                    "task": task,
                    "parameters": potential.num_parameters,
                    "config": potential.config.model_dump(mode="json"),
                    "compile_s": work.compile_s,
                    "temporary_bytes": work.temporary_bytes,
                }
            )
            print(f"compiled {label}, {LABELS[task]} in {work.compile_s:.1f} s", flush=True)
    for record, timing in zip(records, alternate(works, seconds=2.5), strict=True):
        record.update(asdict(timing))
    return {
        "benchmark": "models",
        "machine": describe_machine(),
        "versions": installed_versions(),
        "structures": [str(atoms.symbols) for atoms in structures],
        "atoms": sum(map(len, structures)),
        "cutoff": CUTOFF,
        "records": records,
    }


def table(results: dict[str, Any]) -> str:
    """Return the times as Markdown, with ratios to Clebsch–Gordan of the same hidden irreps."""
    times: dict[str, dict[str, float]] = {}
    parameters = {}
    for record in results["records"]:
        times.setdefault(record["model"], {})[record["task"]] = 1e3 * record["median_s"]
        parameters[record["model"]] = record["parameters"]
    lines = [
        "# Models",
        "",
        f"{len(results['structures'])} structures at once, {results['atoms']} atoms in all "
        f"({results['structures'][0]}), cutoff {results['cutoff']} Å, float32, medians in ms of "
        f"one run in which all took turns, on {machine_line(results)}. "
        "Training step: loss on energy and forces and its gradient.",
        "",
        "| model | parameters | energy + forces | training step | against Clebsch–Gordan |",
        "|---|---:|---:|---:|---:|",
    ]
    for model, found in times.items():
        reference = " ".join(model.split()[:2]) + " clebsch_gordan"
        ratio = ""
        if reference in times:
            faster = times[reference]["training_step"] / found["training_step"]
            ratio = f"{faster:.2f} times as fast"
        lines.append(
            f"| {model} | {parameters[model]:,} | {found['energy_forces']:.1f} | "
            f"{found['training_step']:.1f} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and write results.json and README.md."""
    parser = argparse.ArgumentParser(description="Time the models on the same structures.")
    parser.add_argument("structures", type=Path, help="file that ASE reads")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/models")
    parser.add_argument("--batch", type=int, default=5, help="structures at once")
    parser.add_argument("--channels", type=int, default=64)
    arguments = parser.parse_args()
    folder = arguments.folder or RESULTS / machine_name() / "models"
    frames = ase.io.read(arguments.structures, f":{arguments.batch}")
    results = run([frames] if isinstance(frames, ase.Atoms) else frames, arguments.channels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
