"""Train models with and without charge or spin as input on data that need them.

python benchmarks/charged_spin.py [FOLDER] [--epochs 60] [--channels 32] [--cases ag3 carbene]
    [--models tensornet mace escn]

The data are Ag3 as cation and anion, and methylene as singlet and triplet: two energy surfaces each
of the same atoms. Everything but the model is taken from configs/charged_ag3.yaml and
configs/spin_carbene.yaml; the models that are not told the state get the data without it.
"""

import argparse
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase.io
import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder

from tensornet_jax.config import load_config
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.models import MODELS
from tensornet_jax.train.config.data import files_of
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.evaluation.metrics import shown_unit
from tensornet_jax.train.run import train

CONFIGS = Path(__file__).parents[1] / "configs"
CASES = {"ag3": ("charge", "charged_ag3"), "carbene": ("spin", "spin_carbene")}
TITLES = {"ag3": "Ag3+ and Ag3-", "carbene": "Methylene, singlet and triplet"}
MODEL_NAMES = ("tensornet", "mace", "escn")
CUTOFF = 6.0
NO_INPUT, FACTOR, EMBEDDED = "none", "factor", "embedded"
LABELS = {
    NO_INPUT: "not told",
    FACTOR: "scale factor 1 + 0.1 q",
    EMBEDDED: "embedded",
}
# RMSE on the whole set of Ag3, energy meV/atom and forces meV/Å.
PUBLISHED = {
    "ag3": {
        "2G-HDNNP, not told the charge": (352.0, 1803.0),
        "4G-HDNNP": (1.323, 31.69),
        "SpookyNet": (0.220, 26.64),
    }
}


def models(state: str, channels: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the options of each (model, way the state gets in)."""
    common = {"num_channels": channels, "cutoff": CUTOFF}
    tensornet = {"name": "tensornet", "num_radial": 16, "total_charge": False} | common
    mace = {"name": "mace", "l_max": 2, "hidden_l_max": 1} | common
    escn = {"name": "escn", "hidden_channels": channels, "l_max": 2} | common
    told = {"electronic_state": [state]}
    found = {("tensornet", NO_INPUT): tensornet}
    if state == "charge":
        found["tensornet", FACTOR] = tensornet | {"total_charge": True}
    return found | {
        ("tensornet", EMBEDDED): tensornet | told,
        ("mace", NO_INPUT): mace,
        ("mace", EMBEDDED): mace | told,
        ("escn", NO_INPUT): escn,
        ("escn", EMBEDDED): escn | told,
    }


def without_state(paths: tuple[str, ...], labels: LabelConfig, folder: Path) -> Path:
    """Write the structures of files without charge and spin."""
    structures = [atoms for path in paths for atoms in ase.io.iread(path)]
    for atoms in structures:
        for kind in ("charge", "spin"):
            for key in labels.state_keys(kind):
                atoms.info.pop(key, None)
    ase.io.write(folder / "data.xyz", structures)
    return folder / "data.xyz"


def run(case: str, epochs: int, channels: int, names: Collection[str]) -> Iterator[dict[str, Any]]:
    """Train models of these names on one of CASES; give a record for each."""
    state, name = CASES[case]
    base = load_config(CONFIGS / f"{name}.yaml", RunConfig)
    for (model, way), options in models(state, channels).items():
        if model not in names:
            continue
        with tempfile.TemporaryDirectory() as directory:
            data = base.data
            if way == NO_INPUT:
                file = without_state(tuple(files_of(data.train)), data.labels, Path(directory))
                data = data.model_copy(update={"train": (str(file),), "labels": LabelConfig()})
            result = train(
                base.model_copy(
                    update={
                        "directory": f"{directory}/run",
                        "data": data,
                        "model": MODELS[model][0].model_validate(options),
                        "training": base.training.model_copy(update={"epochs": epochs}),
                    }
                )
            )
        facts = result.facts
        record = {
            "case": case,
            "model": model,
            "input": way,
            "channels": channels,
            "epochs": facts.epochs,
            "minutes": facts.minutes,
            "parameters": facts.num_parameters,
            "errors": [asdict(row) for row in result.rows if row.data_set == "held_out"],
        }
        jax.clear_caches()
        print(case, model, way, *(f"{value:.4g}" for value in errors(record)), flush=True)
        yield record


def errors(record: dict[str, Any], kind: str = "rmse") -> tuple[float, float]:
    """RMSE or MAE of energy, meV/atom, and of force components, meV/Å, of structures held out."""
    found = {
        row["property"]: row[kind] * shown_unit(row["property"])[2]
        for row in record["errors"]
        if row["config_type"] == "all" and row["element"] == ""
    }
    return found["energy_per_atom"], found["forces"]


def table(results: dict[str, Any]) -> str:
    """Return the errors as Markdown."""
    records = results["records"]
    lines = [
        "# Charge and spin as inputs",
        "",
        "Two energy surfaces of the same three atoms, which a model can fit only if it is told "
        "which one is meant. 1600 structures to train on, 200 to validate, 400 held out at random, "
        "whose RMSE stands here. Short runs of small models "
        f"({records[0]['channels']} channels, {records[0]['epochs']:g} epochs, shared with "
        f"other work), float32, on {machine_line(results, cores='one core')}. "
        "Ratio: error without the input over error with it.",
        "",
        "![errors](charged_spin.png)",
    ]
    for case in dict.fromkeys(record["case"] for record in records):
        lines += [
            "",
            f"## {TITLES[case]}",
            "",
            f"| model | {CASES[case][0]} | energy, meV/atom | ratio | forces, meV/Å | ratio "
            "| MAE of energy | of forces | parameters | minutes |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        own = [record for record in records if record["case"] == case]
        blind = {r["model"]: errors(r) for r in own if r["input"] == NO_INPUT}
        for r in own:
            cells = [
                f"{value:.2f} | " + ("" if r["input"] == NO_INPUT else f"{before / value:.0f}")
                for value, before in zip(errors(r), blind[r["model"]], strict=True)
            ]
            cells += [f"{value:.2f}" for value in errors(r, "mae")]
            lines.append(
                f"| {r['model']} | {LABELS[r['input']]} | {' | '.join(cells)} "
                f"| {r['parameters']:,} | {r['minutes']:.1f} |"
            )
        for name, values in PUBLISHED.get(case, {}).items():
            lines.append(f"| *{name}* | | {values[0]:g} | | {values[1]:g} | | | | | |")
    lines += [
        "",
        "Published (doi:10.1038/s41467-021-27504-0): trained on the whole set of about 10,000 "
        "structures of Ag3, of which 2200 are here. What RMSE is left of Ag3 all models share, "
        "eight times their MAE: it is that of a few structures.",
    ]
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the energy errors of all models, on a logarithmic scale."""
    cases = list(dict.fromkeys(record["case"] for record in results["records"]))
    figure = Figure(figsize=(4.5 * len(cases), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, case in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        own = [record for record in results["records"] if record["case"] == case]
        names = list(dict.fromkeys(record["model"] for record in own))
        ways = [way for way in LABELS if any(record["input"] == way for record in own)]
        for index, way in enumerate(ways):
            chosen = [record for record in own if record["input"] == way]
            places = np.array([names.index(record["model"]) for record in chosen])
            values = [errors(record)[0] for record in chosen]
            axes.bar(
                places + 0.8 * (index / len(ways) - 0.5), values, 0.7 / len(ways), label=LABELS[way]
            )
        axes.set_xticks(range(len(names)), names)
        axes.set_yscale("log")
        axes.set_ylim(top=30 * axes.get_ylim()[1])
        axes.set_ylabel("energy RMSE (meV/atom)")
        axes.set_title(TITLES[case])
        axes.legend(title=CASES[case][0], loc="upper right")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run and write results.json, README.md and charged_spin.png."""
    parser = argparse.ArgumentParser(description="Errors with and without charge and spin.")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="default: results/MACHINE/charged_spin"
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--models", nargs="+", choices=MODEL_NAMES, default=list(MODEL_NAMES))
    arguments = parser.parse_args()
    folder = results_folder("charged_spin", arguments.folder)
    for case in arguments.cases:
        for record in run(case, arguments.epochs, arguments.channels, arguments.models):
            results = add_records(folder, "charged_spin", [record], ("case", "model", "input"), {})
            (folder / "README.md").write_text(table(results), encoding="utf-8")
            plot(results, folder / "charged_spin.png")


if __name__ == "__main__":
    main()
