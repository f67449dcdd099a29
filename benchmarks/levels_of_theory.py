"""Two levels of theory of ethanol: heads of one network, trained together and alone.

python benchmarks/levels_of_theory.py DATA [--count 60] [--epochs 60] [--folder FOLDER]

DATA holds rmd17_ethanol_pbe/ and ethanol_gfn2/, each with train.xyz and a test. Labels of one are
in eV, of the other in Hartree, with reference energies of their own. Both together take as many
epochs as each alone; on half of the structures these are half of the steps. Alone is also each with
as many steps as both together.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io

from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting.result import TrainingResult
from tensornet_jax.train.run import train

BENCHMARK = "levels_of_theory"
HARTREE = 27.211386245988
TESTED = 100
LEVELS = {
    "pbe": ("rmd17_ethanol_pbe/train.xyz", "rmd17_ethanol_pbe/test_MD.xyz", "eV"),
    "gfn2": ("ethanol_gfn2/train.xyz", "ethanol_gfn2/test.xyz", "Hartree"),
}


@dataclass(frozen=True)
class Level:
    """Data of one level of theory as sections of a configuration.

    Attributes:
        train: to train on.
        test: to test on.
    """

    train: Mapping[str, Any]
    test: Mapping[str, Any]


def levels(data: Path, count: int, made: Path) -> dict[str, Level]:
    """Write the first structures of every level of theory in its unit; return its sections."""
    found = {}
    for head, (*files, unit) in LEVELS.items():
        factor = HARTREE if unit == "Hartree" else 1.0
        labels = {"energy": "total", "forces": "push", "units": {"energy": unit}}
        sections = []
        for name, number in zip(files, (count, TESTED), strict=True):
            frames = ase.io.read(data / name, f":{number}")
            assert isinstance(frames, list)
            for atoms in frames:
                atoms.info = {"total": atoms.get_potential_energy() / factor}
                atoms.arrays["push"] = atoms.get_forces() / factor
                atoms.calc = None
            file = made / f"{head}_{len(sections)}.xyz"
            ase.io.write(file, frames)
            sections.append({"file": str(file), "head": head, "labels": labels})
        found[head] = Level(*sections)
    return found


def trained(folder: Path, chosen: Mapping[str, Level], epochs: int) -> TrainingResult:
    """Train a small network with a head for each level."""
    settings = {
        "directory": str(folder),
        "data": {
            "train": [level.train for level in chosen.values()],
            "validation": "none",
            "test": {head: level.test for head, level in chosen.items()},
        },
        "model": {"name": "tensornet", "num_channels": 24, "num_layers": 1, "num_radial": 16},
        "optimizer": {"learning_rate": 3e-3, "ema_decay": 0.95},
        "training": {"epochs": epochs, "batch_size": 5},
    }
    return train(RunConfig.model_validate(settings))


def errors(result: TrainingResult, head: str) -> dict[str, float]:
    """Return the RMSE of energies (eV) and forces (eV/Å) of a level's test."""
    return {
        row.property: row.rmse
        for row in result.rows
        if row.data_set.split(" (")[0] == head
        and row.property in ("energy", "forces")
        and row.config_type == "all"
        and not row.element
    }


def compared(data: Path, count: int, epochs: int) -> list[dict[str, Any]]:
    """Train both levels together and alone, and return the errors of each."""
    records = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        chosen = levels(data, count, folder)
        runs = {"together": (chosen, epochs)}
        for head, level in chosen.items():
            runs[f"{head}, half of the steps"] = ({head: level}, epochs)
            runs[f"{head}, as many steps"] = ({head: level}, 2 * epochs)
        for number, (name, (some, length)) in enumerate(runs.items()):
            result = trained(folder / str(number), some, length)
            for head in some:
                run = "together" if name == "together" else "alone, " + name.split(", ")[1]
                records.append({"head": head, "run": run, "count": count, **errors(result, head)})
    return records


def report(results: dict[str, Any]) -> str:
    """Return the page."""
    records = sorted(results["records"], key=lambda record: record["head"])
    lines = [
        "# Two levels of theory in one network",
        "",
        f"Ethanol with PBE (eV) and with GFN2-xTB (Hartree), {records[0]['count']} structures "
        "each; TensorNet with 24 channels and one layer, float32. RMSE on 100 other structures. "
        "*Together*: a head each, all in one run.",
        "",
        "| level | training | energy, meV | forces, meV/Å |",
        "|---|---|---:|---:|",
    ]
    for record in records:
        energy, forces = 1e3 * record["energy"], 1e3 * record["forces"]
        lines.append(f"| {record['head']} | {record['run']} | {energy:.1f} | {forces:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, and write results.json and README.md."""
    # Beside this script; the tests import this module from the repository's root.
    from results_file import add_records, results_folder

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    enable_compilation_cache()
    folder = results_folder(BENCHMARK, options.folder)
    records = compared(options.data, options.count, options.epochs)
    results = add_records(folder, BENCHMARK, records, ("head", "run"), {})
    (folder / "README.md").write_text(report(results), encoding="utf-8")


if __name__ == "__main__":
    main()
