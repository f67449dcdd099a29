"""How right standard deviations are, and what they cost: 300 K training, tests at 300 K and 600 K.

python benchmarks/uncertainty.py DATA [--sets acac 3bpa] [--epochs 300] [--channels 64]
    [--committee 4] [--most STRUCTURES] [--folder FOLDER] [--times]

DATA holds acac/ and 3bpa/ as published, each with train_300K.xyz and, as far as they are there,
test files of both temperatures. Without a test file at 300 K, a fifth of the training structures is
tested on. `most` limits the structures of each test, for a trial. Estimators of the last layer are
compared on one trained model; the committee (0 members for none) is trained in the same way. All of
them are timed in turns. --times measures nothing else, on models that are hardly trained, and
replaces the times of a set in results.json: on a machine that does nothing else.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from evaluation_work import evaluation, padded
from results_file import add_records, machine_line, results_folder
from uncertainty_report import ENERGY_STD, FORCES_STD, PLAIN, write_report

from tensornet_jax.benchmark.measure import Work, alternate
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.estimate import (
    with_rigidity,
    with_shallow_ensemble,
    with_spread,
)
from tensornet_jax.potential.uncertainty.residuals import residuals_of
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.evaluation.errors import evaluate_structures
from tensornet_jax.train.evaluation.reliability import curves_of, known, reliability_rows
from tensornet_jax.train.run import train

BENCHMARK = "uncertainty"
KEYS = ("set", "estimator")
FEW = 20
TESTS = {
    "300K": ("test_MD_300K.xyz", "test_300K.xyz"),
    "600K": ("test_MD_600K.xyz", "test_600K.xyz", "train_600K.xyz"),
}
"""Names of the test files, the best first; models are trained at 300 K alone."""
Sets = dict[str, list[LabelledStructure]]
Estimator = Callable[[Potential, Sets], Potential]


def _rigidity(**settings: Any) -> Estimator:
    return lambda potential, parts: with_rigidity(
        potential, [each.atoms for each in parts["train"]], parts["validation"], **settings
    )


ESTIMATORS: dict[str, Estimator] = {
    "rigidity": _rigidity(),
    "rigidity, 16 directions": _rigidity(directions=16),
    "rigidity with curves": _rigidity(isotonic=True),
    "rigidity, 16 directions, with curves": _rigidity(directions=16, isotonic=True),
    "shallow ensemble of 16": lambda potential, parts: with_shallow_ensemble(
        potential, parts["train"], parts["validation"], members=16
    ),
}
COMPUTED = {
    "energy": ("energy",),
    PLAIN: ("energy", "forces"),
    ENERGY_STD: ("energy", "forces", "energy_std"),
    FORCES_STD: ("energy", "forces", "forces_std"),
}


def main() -> None:
    """Train, give uncertainties, and write results.json, README.md and diagrams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=["acac", "3bpa"])
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--committee", type=int, default=4)
    parser.add_argument("--most", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--times", action="store_true")
    options = parser.parse_args()
    enable_compilation_cache()
    folder = results_folder(BENCHMARK, options.folder)
    old = _known(folder) if options.times else {}
    records = []
    for name in options.sets:
        parts = _parts(options.data / name, options.most)
        epochs, used = options.epochs, parts
        if options.times:
            epochs, used = 2, {part: structures[:FEW] for part, structures in parts.items()}
        plain, sure = _estimators(used, epochs, options.channels, options.committee)
        seconds = _seconds({PLAIN: plain} | sure, parts["300K"][0])
        facts = {
            "set": name,
            "epochs": epochs,
            "channels": options.channels,
            "structures": {part: len(structures) for part, structures in parts.items()},
        }
        for each in sure:
            measured = {"plain_seconds": seconds[PLAIN][PLAIN], "seconds": seconds[each]}
            found = old[name, each] if options.times else facts | _record(each, sure[each], parts)
            records.append(found | measured)
    results = add_records(folder, BENCHMARK, records, KEYS, {})
    write_report(folder, results["records"], machine_line(results))


def _known(folder: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the records there are."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["records"]
    return {tuple(each[key] for key in KEYS): each for each in found}


def _estimators(
    parts: Sets, epochs: int, channels: int, members: int
) -> tuple[Potential, dict[str, Potential]]:
    """Return a trained potential, and what knows how sure it is, by estimator."""
    potential = _trained(parts, epochs, channels)
    sure = {each: make(potential, parts) for each, make in ESTIMATORS.items()}
    if members:
        committee = _trained(parts, epochs, channels, members)
        sure[f"committee of {members}"] = with_spread(committee, parts["validation"])
    return potential, sure


def _parts(folder: Path, most: int | None) -> Sets:
    """Return training and validation set, and tests by temperature."""
    structures = _read(folder / "train_300K.xyz")
    order = np.random.default_rng(0).permutation(len(structures))
    found: Sets = {}
    for temperature, names in TESTS.items():
        files = [folder / name for name in names if (folder / name).exists()]
        if files:
            found[temperature] = _read(files[0])[:most]
    held = max(2, len(order) // 5)
    if "300K" not in found:
        found["300K"] = [structures[k] for k in order[:held]][:most]
        order = order[held:]
    validation, rest = order[:held], order[held:]
    found["validation"] = [structures[k] for k in validation]
    found["train"] = [structures[k] for k in rest]
    return found


def _read(path: Path) -> list[LabelledStructure]:
    return list(read_labelled(path, LabelConfig()))


def _trained(parts: Sets, epochs: int, channels: int, committee: int | None = None) -> Potential:
    """Return a TensorNet, or a committee, trained on the training set."""
    with tempfile.TemporaryDirectory() as made:
        files = {}
        for name in ("train", "validation"):
            files[name] = str(Path(made) / f"{name}.xyz")
            frames = [each.to_atoms() for each in parts[name]]
            ase.io.write(files[name], frames, format="extxyz")
        config = RunConfig.model_validate(
            {
                "directory": str(Path(made) / "run"),
                "data": files,
                "model": {"name": "tensornet", "num_channels": channels},
                "loss": {"energy": {"weight": 100.0}, "forces": {"weight": 10.0}},
                "optimizer": {"schedule": {"name": "cosine", "warmup_epochs": 1}},
                "training": {"epochs": epochs, "batch_size": 5, "committee": committee},
            }
        )
        return train(config).potential


def _record(estimator: str, sure: Potential, parts: Sets) -> dict[str, Any]:
    """Return what one estimator says of the tests of one set, and how long it takes."""
    tests = {key: part for key, part in parts.items() if key in TESTS}
    rows, curves = [], {}
    for temperature, structures in sorted(tests.items()):
        predictions = evaluate_structures(sure, structures, deviations=True)
        found = known(residuals_of(predictions, (each.labels for each in structures)))
        rows += reliability_rows(temperature, found)
        curves[temperature] = {
            name: {key: values.tolist() for key, values in curves_of(each)._asdict().items()}
            for name, each in found.items()
        }
    return {
        "estimator": estimator,
        "facts": sure.metadata["uncertainty"],
        "rows": [asdict(row) for row in rows],
        "curves": curves,
    }


def _seconds(
    potentials: Mapping[str, Potential], example: LabelledStructure
) -> dict[str, dict[str, float]]:
    """Return the median times of a structure by estimator and what is computed, taken in turns."""
    works: dict[tuple[str, str], Work] = {}
    for estimator, potential in potentials.items():
        graph = padded(potential, [example.atoms])
        for name, compute in COMPUTED.items():
            # After the energy: what comes before leaves the caches, or empties them.
            if estimator != PLAIN or not any(each.endswith("_std") for each in compute):
                works[estimator, name] = evaluation(potential, graph, compute)
    found: dict[str, dict[str, float]] = {}
    timings = alternate(list(works.values()), seconds=2.0)
    for (estimator, name), timing in zip(works, timings, strict=True):
        found.setdefault(estimator, {})[name] = timing.median_s
    return found


if __name__ == "__main__":
    main()
