"""Few structures: fine-tuning a model against training the same network from random weights.

python benchmarks/fine_tuning.py MODEL TRAIN TEST [--others NAME=FILE …] [--replay FILE …]
    [--runs scratch fine_tuned replay] [--count 20] [--minutes 2.5] [--folder FOLDER]

MODEL is a model file, of a converted MACE for instance. Of TRAIN `count` structures are drawn at
random (numpy's default_rng(0)), a fifth of them for validation; TEST is what errors are reported
on. Both ways train the same architecture on the same structures for the same time. `others` are
test sets of other materials, which show what is forgotten, and `replay` structures of which as many
are replayed with the predictions of MODEL as targets. Each run replaces what results.json has of
it, so that they may be made one after the other.
"""

import argparse
import csv
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder

from tensornet_jax.config import dump_config
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.evaluation.metrics import shown_unit
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train

BENCHMARK = "fine_tuning"
LEARNING_RATES = {"scratch": 2e-3, "fine_tuned": 5e-4, "replay": 5e-4}
TITLES = {
    "zero_shot": "as it is, E0 fitted",
    "scratch": "random weights",
    "fine_tuned": "fine-tuned",
    "replay": "fine-tuned, with replay",
}
COLORS = {"scratch": "#d1681c", "fine_tuned": "#1f5fa8", "replay": "#2b8a5b"}
VALIDATIONS = 30
PILOT_EPOCHS = 4


@dataclass(frozen=True)
class Task:
    """What is asked of every run.

    Attributes:
        model: file to start from.
        train: file of the drawn structures.
        test: file of the test set.
        others: name → file of other test sets.
        replay: file of structures to replay, or None.
        count: structures drawn.
        minutes: of training.
    """

    model: Path
    train: Path
    test: Path
    others: Mapping[str, Path]
    replay: Path | None
    count: int
    minutes: float


def drawn(paths: Sequence[Path], count: int, target: Path) -> Path:
    """Write `count` structures of each file, drawn with a fixed seed, to another."""
    chosen = []
    for path in paths:
        structures = list(ase.io.iread(path, ":"))
        order = np.random.default_rng(0).permutation(len(structures))[:count]
        chosen += [structures[k] for k in sorted(order)]
    ase.io.write(target, chosen, format="extxyz")
    return target


def configuration(task: Task, run: str, directory: Path, epochs: int) -> RunConfig:
    """Return the configuration of a run."""
    tests = {"test": str(task.test)}
    if run != "scratch":
        tests |= {name: str(path) for name, path in task.others.items()}
    data: dict[str, Any] = {
        "train": str(task.train),
        "validation": max(1, task.count // 5),
        "test": tests,
    }
    if run == "replay":
        data["replay"] = {"train": str(task.replay), "targets": "model", "batch_size": 2}
    start = {"model": str(task.model), "elements": "data"}
    architecture = load_model(task.model).config.model_dump()
    return RunConfig.model_validate(
        {
            "directory": str(directory),
            "data": data,
            **({"model": architecture} if run == "scratch" else {"start": start}),
            "loss": {
                "energy": {"weight": 100.0},
                "forces": {"weight": 10.0},
                "stress": {"weight": 100.0},
            },
            "optimizer": {
                "learning_rate": LEARNING_RATES[run],
                "schedule": {"name": "cosine", "warmup_epochs": epochs / 20},
                "ema_decay": 0.99,
            },
            "training": {
                "epochs": epochs,
                "batch_size": 2,
                "validation_batch_size": 4,
                "validate_every": max(1, epochs // VALIDATIONS),
            },
        }
    )


def epochs_in(task: Task, run: str, directory: Path) -> int:
    """Return how many epochs fit into the time, from those of a short run after the first."""
    config = configuration(task, run, directory, PILOT_EPOCHS)
    training = config.training.model_copy(update={"validate_every": PILOT_EPOCHS})
    train(config.model_copy(update={"training": training}))
    seconds = [row["seconds"] for row in read_rows(directory / "log_train.csv")]
    each = (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    return max(PILOT_EPOCHS, round(60 * task.minutes / each))


def trained(task: Task, run: str, folder: Path) -> list[dict[str, Any]]:
    """Train, keep log and configuration, and return the errors, with those before training."""
    with tempfile.TemporaryDirectory() as temporary:
        epochs = epochs_in(task, run, Path(temporary) / "pilot")
        directory = Path(temporary) / run
        config = configuration(task, run, directory, epochs)
        result = train(config)
        own = folder / run
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(directory / "log_validation.csv", own)
        (own / "config.yaml").write_text(named(config, run, task), encoding="utf-8")
        facts = result.facts
        record = {
            "run": run,
            "model": task.model.name,
            "architecture": load_model(task.model).config.name,
            "count": task.count,
            "epochs": facts.epochs,
            "best_epoch": facts.best_epoch,
            "minutes": facts.minutes,
            "learning_rate": config.optimizer.learning_rate,
            "parameters": facts.num_parameters,
            "errors": [asdict(row) for row in result.rows],
        }
        if run != "fine_tuned":
            return [record]
        with (directory / "report" / "errors_before.csv").open(encoding="utf-8") as file:
            before = list(csv.DictReader(file))
        numbers = [{**row, "mae": float(row["mae"]), "rmse": float(row["rmse"])} for row in before]
        return [{**record, "run": "zero_shot", "epochs": 0, "errors": numbers}, record]


def named(config: RunConfig, run: str, task: Task) -> str:
    """Return the text of a configuration without the folders of this machine."""
    text = dump_config(config.model_copy(update={"directory": f"runs/{BENCHMARK}_{run}"}))
    files = [task.model, task.train, task.test, *task.others.values()]
    for path in [*files, *([task.replay] if task.replay else [])]:
        text = text.replace(str(path), path.name)
    return text


def mae(record: Mapping[str, Any], data_set: str, name: str) -> str:
    """Return an error as text in meV, or nothing where there is none."""
    wanted = (data_set, name, "all", "")
    keys = ("data_set", "property", "config_type", "element")
    found = [row["mae"] for row in record["errors"] if tuple(row[k] for k in keys) == wanted]
    return f"{found[0] * shown_unit(name)[2]:.3g}" if found else ""


def report(results: dict[str, Any], others: Sequence[str]) -> str:
    """Return the tables as Markdown."""
    records = {record["run"]: record for record in results["records"]}
    records = {run: records[run] for run in TITLES if run in records}
    first = next(iter(records.values()))
    lines = [
        f"# {first['count']} structures: fine-tuning and training from random weights",
        "",
        f"The same {first['architecture']}, the same {first['count']} structures (a fifth of them "
        f"for validation), about the same time on {machine_line(results)}, "
        "float32. The model that "
        f"fine-tuning starts from is {first['model']}. Without training it gets the energies of "
        "its isolated atoms fitted to the same structures. Errors are MAE on the test set.",
        "",
        "| weights | minutes | epochs | energy meV/atom | forces meV/Å | stress meV/Å³ |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for run, record in records.items():
        errors = [mae(record, "test", name) for name in ("energy_per_atom", "forces", "stress")]
        minutes = "" if run == "zero_shot" else f"{record['minutes']:.1f}"
        lines.append(
            f"| {TITLES[run]} | {minutes} | {record['epochs']:.4g} | {' | '.join(errors)} |"
        )
    tuned = {run: record for run, record in records.items() if run != "scratch"}
    if others and tuned:
        lines += [
            "",
            "## What is forgotten",
            "",
            "Forces of materials that fine-tuning has not seen, MAE in meV/Å. Replayed are other "
            "structures of the same materials, with predictions of the starting model as targets.",
            "",
            "| weights | " + " | ".join(others) + " |",
            "|---|" + "---:|" * len(others),
        ]
        for run, record in tuned.items():
            errors = [mae(record, name, "forces") for name in others]
            lines.append(f"| {TITLES[run]} | {' | '.join(errors)} |")
    return "\n".join(lines) + "\n\n![Force errors against time](fine_tuning.png)\n"


def plot(folder: Path) -> None:
    """Draw the force error on the validation structures against time."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for run, color in COLORS.items():
        if not (folder / run / "log_validation.csv").exists():
            continue
        rows = read_rows(folder / run / "log_validation.csv")
        minutes = [row["seconds"] / 60 for row in rows]
        errors = [1e3 * row["forces_mae"] for row in rows]
        axes.plot(minutes, errors, color=color, marker="o", markersize=3, label=TITLES[run])
    axes.set(yscale="log", xlabel="minutes", ylabel="force MAE, validation (meV/Å)")
    axes.legend(frameon=False)
    axes.grid(True, which="both", color="#e5e8eb", linewidth=0.6)
    figure.savefig(folder / "fine_tuning.png", dpi=160)


def main() -> None:
    """Run and write results.json, README.md and the figure."""
    parser = argparse.ArgumentParser(description="Fine-tuning against training anew.")
    parser.add_argument("model", type=Path, help="model file to start from")
    parser.add_argument("train", type=Path, help="structures to draw from")
    parser.add_argument("test", type=Path, help="test set")
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--replay", nargs="*", type=Path, default=[], metavar="FILE")
    parser.add_argument("--runs", nargs="+", choices=tuple(LEARNING_RATES))
    parser.add_argument("--count", type=int, default=20, help="structures to train on")
    parser.add_argument("--minutes", type=float, default=2.5, help="of training, each run")
    parser.add_argument("--folder", type=Path, help=f"default: results/MACHINE/{BENCHMARK}")
    arguments = parser.parse_args()
    # What the short run before each run compiles need not be compiled again.
    enable_compilation_cache()
    folder = results_folder(BENCHMARK, arguments.folder)
    others = {name: Path(path) for name, _, path in (o.partition("=") for o in arguments.others)}
    with tempfile.TemporaryDirectory() as temporary:
        structures = drawn([arguments.train], arguments.count, Path(temporary) / "train.xyz")
        replay = None
        if arguments.replay:
            replay = drawn(arguments.replay, arguments.count, Path(temporary) / "replay.xyz")
        task = Task(
            arguments.model,
            structures,
            arguments.test,
            others,
            replay,
            arguments.count,
            arguments.minutes,
        )
        runs = arguments.runs or ["scratch", "fine_tuned", *(["replay"] if replay else [])]
        for run in runs:
            results = add_records(folder, BENCHMARK, trained(task, run, folder), ("run",), {})
            page = report(results, tuple(others))
            (folder / "README.md").write_text(page, encoding="utf-8")
            plot(folder)
            print(page, flush=True)


if __name__ == "__main__":
    main()
