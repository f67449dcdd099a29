"""Polar dipeptides with and without long range: the same network, and charges that it predicts.

python benchmarks/long_range.py DATA [--arms without with] [--epochs 90] [--folder FOLDER]

DATA holds train.xyz, val.xyz and test.xyz of SPICE's polar dipeptides. Both arms train the same
TensorNet on the same structures for the same number of epochs, with the same seed; one of them adds
the Coulomb energy of all pairs of predicted charges that sum to the total charge. Each arm replaces
what results.json has of it, so that they may be run one after the other.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder

from tensornet_jax.config import dump_config
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.evaluation.metrics import shown_unit
from tensornet_jax.train.reporting.csv_log import read_rows
from tensornet_jax.train.run import train

BENCHMARK = "long_range"
# Near neighbors are left to the network, as far as it sees.
COULOMB = {"name": "coulomb", "charges": "predicted", "switch_from": 0.0, "switch_to": 4.5}
ARMS: dict[str, list[dict[str, Any]]] = {"without": [], "with": [COULOMB]}
TITLES = {"without": "without long range", "with": "with long range"}
COLORS = {"without": "#d1681c", "with": "#1f5fa8"}
PUBLISHED = {
    "without": {"val": (1.97, 58.8), "test": (2.35, 72.4)},
    "with": {"val": (1.29, 53.1), "test": (1.88, 61.1)},
}
"""Energy in meV/atom and forces in meV/Å of CACE without and with latent Ewald summation."""


def configuration(data: Path, arm: str, directory: Path, epochs: int) -> RunConfig:
    """Return the configuration of an arm."""
    return RunConfig.model_validate(
        {
            "directory": str(directory),
            "data": {
                "train": str(data / "train.xyz"),
                "validation": [str(data / "val.xyz")],
                "test": {"test": [str(data / "test.xyz")]},
                "reference_energies": "least_squares",
            },
            "model": {
                "name": "tensornet",
                "num_channels": 32,
                "num_layers": 1,
                "num_radial": 16,
                "cutoff": 4.5,
                "priors": ARMS[arm],
            },
            "loss": {"energy": {"weight": 1000.0}, "forces": {"weight": 10.0}},
            "optimizer": {
                "learning_rate": 2e-3,
                "schedule": {"name": "cosine", "warmup_epochs": 1},
                "clip_norm": 10.0,
                "ema_decay": 0.99,
            },
            "training": {
                "epochs": epochs,
                "batch_size": 4,
                "validation_batch_size": 11,
                "validate_every": max(1, epochs // 20),
            },
        }
    )


def trained(data: Path, arm: str, epochs: int, folder: Path) -> dict[str, Any]:
    """Train, keep log and configuration, and return the errors."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / arm
        config = configuration(data, arm, directory, epochs)
        result = train(config)
        own = folder / arm
        own.mkdir(parents=True, exist_ok=True)
        shutil.copy(directory / "log_validation.csv", own)
        text = dump_config(config.model_copy(update={"directory": f"runs/{BENCHMARK}_{arm}"}))
        own.joinpath("config.yaml").write_text(text.replace(f"{data}/", ""), encoding="utf-8")
    facts = result.facts
    return {
        "arm": arm,
        "epochs": facts.epochs,
        "best_epoch": facts.best_epoch,
        "parameters": facts.num_parameters,
        "errors": [asdict(row) for row in result.rows],
    }


def error(record: Mapping[str, Any], data_set: str, name: str, measure: str) -> str:
    """Return an error as text in meV."""
    wanted = (data_set, name, "all", "")
    keys = ("data_set", "property", "config_type", "element")
    (row,) = (row for row in record["errors"] if tuple(row[k] for k in keys) == wanted)
    return f"{row[measure] * shown_unit(name)[2]:.3g}"


def report(results: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    records = {record["arm"]: record for record in results["records"]}
    lines = [
        "# Polar dipeptides of SPICE, with and without long range",
        "",
        f"TensorNet (1 layer, 32 channels, cutoff 4.5 Å) on 495 dipeptides of ωB97M-D3(BJ), on "
        f"{machine_line(results, cores='one core')}, "
        "float32. Both arms have the same network, seed, batches "
        'and number of epochs; "with" adds the Coulomb energy of all pairs of charges that the '
        "network predicts of its features, summing to the total charge, from labels of energy and "
        "forces alone. Published are numbers of another model, CACE without and with latent Ewald "
        "summation, and of another training; their source does not say whether they are RMSE or "
        "MAE.",
        "",
        "| | epochs | set | energy RMSE (MAE), meV/atom | forces RMSE (MAE), meV/Å | "
        "published energy, forces |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for arm in (arm for arm in TITLES if arm in records):
        record = records[arm]
        head = f"| {TITLES[arm]} | {record['epochs']:.4g}"
        for data_set, ours in (("val", "validation"), ("test", "test")):
            cells = [
                "{} ({})".format(*(error(record, ours, name, m) for m in ("rmse", "mae")))
                for name in ("energy_per_atom", "forces")
            ]
            published = ", ".join(map(str, PUBLISHED[arm][data_set]))
            lines.append(f"{head} | {data_set} | {' | '.join(cells)} | {published} |")
    if {"with", "without"} <= {*records}:
        lines += ["", *_gains(records)]
    return "\n".join(lines) + "\n\n![Errors against epochs](long_range.png)\n"


def _gains(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say by how much long range lowers the errors on the validation set, here and as published."""
    lines = []
    for index, (name, text) in enumerate((("energy_per_atom", "energy"), ("forces", "force"))):
        ours = [
            float(error(records[arm], "validation", name, "rmse")) for arm in ("with", "without")
        ]
        theirs = [PUBLISHED[arm]["val"][index] for arm in ("with", "without")]
        change, published = (100 * (new / old - 1) for new, old in (ours, theirs))
        lines.append(
            f"Long range changes the {text} error (RMSE, validation) by {change:+.0f} %, as "
            f"published by {published:+.0f} %."
        )
    return lines


def plot(folder: Path) -> None:
    """Draw energy and force errors on the validation structures against epochs."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    panels = (("energy_per_atom", "energy RMSE (meV/atom)"), ("forces", "force RMSE (meV/Å)"))
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for index, (axes, (name, label)) in enumerate(zip(row, panels, strict=True)):
        for arm, color in COLORS.items():
            if (folder / arm / "log_validation.csv").exists():
                log = read_rows(folder / arm / "log_validation.csv")
                errors = [1e3 * line[f"{name}_rmse"] for line in log]
                epochs = [line["epoch"] for line in log]
                axes.plot(epochs, errors, color=color, marker="o", markersize=3, label=TITLES[arm])
            axes.axhline(PUBLISHED[arm]["val"][index], color=color, linestyle=":", linewidth=1)
        axes.set(yscale="log", xlabel="epoch", ylabel=label)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(True, which="both", color="#e5e8eb", linewidth=0.6)
    row[-1].legend(frameon=False, title="dotted: published", title_fontsize="small")
    figure.savefig(folder / f"{BENCHMARK}.png", dpi=160)


def main() -> None:
    """Run and write results.json, README.md and the figure."""
    parser = argparse.ArgumentParser(description="Dipeptides with and without long range.")
    parser.add_argument("data", type=Path, help="folder of train.xyz, val.xyz and test.xyz")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--epochs", type=int, default=90, help="of training, each arm")
    parser.add_argument("--folder", type=Path, help=f"default: results/MACHINE/{BENCHMARK}")
    arguments = parser.parse_args()
    folder = results_folder(BENCHMARK, arguments.folder)
    for arm in arguments.arms:
        record = trained(arguments.data, arm, arguments.epochs, folder)
        results = add_records(folder, BENCHMARK, [record], ("arm",), {})
        page = report(results)
        (folder / "README.md").write_text(page, encoding="utf-8")
        plot(folder)
        print(page, flush=True)


if __name__ == "__main__":
    main()
