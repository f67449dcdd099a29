"""Train every model for the same time on the same data, and tabulate what each reaches.

python benchmarks/trained_models.py CONFIG [FOLDER] [--minutes 2.5] [--channels 32]

CONFIG is a run configuration such as configs/acac.yaml: data, loss and batch size are taken from
it, and models, learning rates and lengths from here. How many epochs fit into the time is worked
out from the time of a training step, which is measured first, all models in turns; compiling and
evaluating are not counted. FOLDER keeps the error table and the log of each run.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import ase
import jax
from models import CUTOFF, LABELS, tasks_of, untrained
from results_file import machine_line

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name
from tensornet_jax.benchmark.measure import Timing, alternate, compile_work
from tensornet_jax.config import dump_config, load_config
from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models import MODELS
from tensornet_jax.models.mace.config import ProductName
from tensornet_jax.train.config.optimizer import CosineSchedule
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import read_data_sets
from tensornet_jax.train.evaluation.metrics import shown_unit
from tensornet_jax.train.run import train

RESULTS = Path(__file__).parent / "results"
LEARNING_RATES = {"tensornet": 2e-3, "mace": 5e-3, "escn": 2e-3}
# RMSE, meV and meV/Å, of models trained to convergence on the same training set.
PUBLISHED = {
    "3bpa": {
        "MACE L=2 (arXiv:2206.07697), published 300 K test set": {"held_out": (3.0, 8.8)},
        "MACE L=1 (arXiv:2206.07697), published 300 K test set": {"held_out": (3.4, 10.3)},
        "MACE L=2 with Gaunt products (arXiv:2401.10216), published 300 K test set": {
            "held_out": (2.9, 9.2)
        },
        "NequIP L=3 (arXiv:2206.07697), published 300 K test set": {"held_out": (3.3, 10.8)},
    },
    "acac": {
        "MACE (arXiv:2206.07697)": {"300K": (0.9, 5.1), "600K": (4.6, 22.4)},
        "NequIP (arXiv:2206.07697)": {"300K": (0.81, 5.90), "600K": (6.04, 27.8)},
    },
}


def configurations(channels: int) -> dict[str, dict[str, Any]]:
    """Return the models by name."""
    mace = {"name": "mace", "num_channels": channels, "hidden_l_max": 1, "l_max": 3}
    # On a torus Gaunt's product is the same function as on a grid, only slower.
    products = [name for name in get_args(ProductName) if name != "gaunt_fourier"]
    return {
        "tensornet": {"name": "tensornet", "num_channels": channels},
        **{f"mace {product}": {**mace, "product": product} for product in products},
        "mace clebsch_gordan, many-body gaunt_grid": {**mace, "many_body_product": "gaunt_grid"},
        "escn": {
            "name": "escn",
            "num_channels": channels,
            "hidden_channels": channels,
            "l_max": 2,
        },
    }


def time_all(
    structures: Sequence[ase.Atoms], configs: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Timing]]:
    """Time energy and forces, and a training step, of a batch with every model in turns."""
    labels, works = [], []
    for name, options in configs.items():
        potential = untrained(options, structures)
        prepared = [potential.structure(atoms) for atoms in structures]
        graph = to_device(batch_structures(prepared, Capacity.holding(prepared), "float32"))
        for task, function in tasks_of(potential).items():
            labels.append((name, task))
            works.append(compile_work(function, potential.variables, graph))
        print(f"compiled {name}", flush=True)
    times: dict[str, dict[str, Timing]] = {}
    for (name, task), timing in zip(labels, alternate(works, seconds=3.0), strict=True):
        times.setdefault(name, {})[task] = timing
    return times


def scheduled(config: RunConfig, epochs: int, learning_rate: float) -> RunConfig:
    """Return a run of so many epochs with a cosine schedule, validated 20 times."""
    optimizer = config.optimizer.model_copy(
        update={
            "learning_rate": learning_rate,
            "schedule": CosineSchedule(name="cosine", warmup_epochs=epochs / 20),
            "ema_decay": 0.99,
        }
    )
    training = config.training.model_copy(
        update={"epochs": epochs, "validate_every": max(1, epochs // 20)}
    )
    return config.model_copy(update={"optimizer": optimizer, "training": training})


def run(path: Path, folder: Path, minutes: float, channels: int) -> dict[str, Any]:
    """Time and train every model."""
    base = load_config(path, RunConfig)
    configs = configurations(channels)
    with tempfile.TemporaryDirectory() as directory:
        data = read_data_sets(
            base.data, base.seed, Path(directory) / "split.json", reuse_split=False, message=print
        )
    first = [structure.atoms for structure in data.train[: base.training.batch_size]]
    times = time_all(first, configs)
    jax.clear_caches()
    steps_per_epoch = len(data.train) // base.training.batch_size
    records = []
    for name, options in configs.items():
        model = MODELS[options["name"]][0].model_validate({"cutoff": CUTOFF} | options)
        config = base.model_copy(update={"model": model})
        per_epoch = steps_per_epoch * times[name]["training_step"].median_s
        epochs = max(1, round(60 * minutes / per_epoch))
        config = scheduled(config, epochs, LEARNING_RATES[options["name"]])
        with tempfile.TemporaryDirectory() as directory:
            config = config.model_copy(update={"directory": directory})
            result = train(config)
            own = folder / name.replace(" ", "_").replace(",", "")
            own.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(directory) / "log_validation.csv", own)
            named = dump_config(config.model_copy(update={"directory": f"runs/{own.name}"}))
            (own / "config.yaml").write_text(named, encoding="utf-8")
        facts = result.facts
        records.append(
            {
                "model": name,
                "parameters": facts.num_parameters,
                "epochs": facts.epochs,
                "minutes": facts.minutes,
                "outcome": facts.outcome,
                "times": {task: asdict(timing) for task, timing in times[name].items()},
                "errors": [asdict(row) for row in result.rows],
            }
        )
        print(f"trained {name}: {epochs} epochs in {facts.minutes:.1f} min", flush=True)
        jax.clear_caches()
    return {
        "benchmark": "trained_models",
        "data": path.stem,
        "machine": describe_machine(),
        "versions": installed_versions(),
        "minutes": minutes,
        "channels": channels,
        "batch_size": base.training.batch_size,
        "test_sets": list(base.data.test),
        "records": records,
    }


def table(results: dict[str, Any]) -> str:
    """Return errors and times as Markdown, beside what is published."""
    tests = results["test_sets"]
    lines = [
        f"# Every model on {results['data']}, {results['minutes']:g} minutes of training each",
        "",
        f"Short runs of small models ({results['channels']} channels, 2 layers): they compare what "
        "the models reach in the same time, not what they can reach. The published figures are of "
        "larger models trained to convergence on a GPU.",
        "",
        f"On {machine_line(results)}, float32. Times in ms for {results['batch_size']} "
        "structures, all models in turns; errors are RMSE, energy meV / forces meV/Å.",
        "",
        "| model | parameters | "
        + " | ".join(LABELS.values())
        + " | epochs | "
        + " | ".join(tests)
        + " |",
        "|---|" + "---:|" * (4 + len(tests)),
    ]
    for record in results["records"]:
        times = [f"{1e3 * record['times'][task]['median_s']:.0f}" for task in LABELS]
        errors = [_errors(record["errors"], test) for test in tests]
        lines.append(
            f"| {record['model']} | {record['parameters']:,} | {' | '.join(times)} | "
            f"{record['epochs']:.3g} | {' | '.join(errors)} |"
        )
    for name, found in PUBLISHED.get(results["data"], {}).items():
        errors = ["{:g} / {:g}".format(*found[test]) if test in found else "" for test in tests]
        lines.append(f"| *{name}* | | | | | {' | '.join(errors)} |")
    return "\n".join(lines) + "\n"


def _errors(rows: list[dict[str, Any]], test: str) -> str:
    """Energy and force RMSE of a whole test set, with what it has labels for."""
    found = []
    for name in ("energy", "forces"):
        whole = [
            row["rmse"] * shown_unit(name)[2]
            for row in rows
            if (row["data_set"], row["config_type"], row["property"], row["element"])
            == (test, "all", name, "")
        ]
        found += [f"{value:.1f}" for value in whole]
    return " / ".join(found)


def main() -> None:
    """Run and write results.json and README.md."""
    parser = argparse.ArgumentParser(description="Train every model for the same time.")
    parser.add_argument("config", type=Path, help="run configuration")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="default: results/MACHINE/trained_models/CONFIG"
    )
    parser.add_argument("--minutes", type=float, default=2.5, help="of training, for each model")
    parser.add_argument("--channels", type=int, default=32)
    arguments = parser.parse_args()
    folder = arguments.folder or (
        RESULTS / machine_name() / "trained_models" / arguments.config.stem
    )
    results = run(arguments.config, folder, arguments.minutes, arguments.channels)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(table(results), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
