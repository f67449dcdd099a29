"""Labels that a loop of active learning needs, against structures chosen at random: ethanol, GFN2.

python benchmarks/active.py [--first 50] [--count 50] [--rounds 3] [--epochs 200] [--channels 32]
    [--steps 20000] [--temperatures 400 500 700] [--random 300 400] [--picoseconds 100]
    [--by determinant] [--stop 1.0] [--mark 0.03] [--seed 0] [--folder FOLDER]

pip install tblite first: it labels what the loop chooses. Random structures are those of the data
that come with the package, dynamics of GFN2-xTB at 500 K, which is what such a training set usually
is. Both begin with the same structures, train on from the same model with the same settings, and
are validated on as many structures; the test is an independent trajectory at 500 K. Random choice
goes on to more labels with --random. At the end both models run dynamics at 500 K.
"""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from active_report import TEMPERATURE, TIMESTEP, write_report
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from results_file import add_records, results_folder

import tensornet_jax
from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.layout import LoopDirectory
from tensornet_jax.active.loop import run
from tensornet_jax.cli.progress import TerminalReporter
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.md import Langevin, Simulation
from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.sample import Sample
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.evaluation.metrics import errors_of
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory

BENCHMARK = "active"
DATA = Path(tensornet_jax.__file__).parent / "data/examples/ethanol_gfn2"
MOST_TESTED = 200
INTERVAL = 100
MOST_DRAWN = 200


def main() -> None:
    """Run the loop, train on as many random structures, and write the errors of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=50)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--temperatures", nargs="+", type=float, default=[400.0, 500.0, 700.0])
    parser.add_argument("--random", nargs="*", type=int, default=[300, 400])
    parser.add_argument("--picoseconds", type=float, default=100.0)
    parser.add_argument("--stop", type=float, default=1.0)
    parser.add_argument("--mark", type=float, default=0.03)
    parser.add_argument("--by", default="determinant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    enable_compilation_cache()
    folder = results_folder(BENCHMARK, options.folder)
    pool = read_labelled(DATA / "train.xyz")
    order = np.random.default_rng(options.seed).permutation(len(pool))
    shuffled = [pool[k] for k in order]
    held, random = shuffled[: options.first], shuffled[options.first :]
    write_canonical(folder / "validation.xyz", held)
    write_canonical(folder / "first.xyz", random[: options.first])
    config = _loop(options, folder)
    run(config, message=lambda text: print(text, flush=True), reporter=TerminalReporter)
    test = read_labelled(DATA / "test.xyz")[:MOST_TESTED]
    models = {
        "loop": _of_loop(config),
        "random": _of_random(config, random, folder, options.random),
    }
    records = [
        {"choice": choice, "labels": labels, **_errors(model, test)}
        for choice, found in models.items()
        for labels, model in found.items()
    ]
    for choice, found in models.items():
        labels, model = max(found.items())
        (record,) = (r for r in records if (r["choice"], r["labels"]) == (choice, labels))
        record["dynamics"] = _dynamics(model, test, options.picoseconds)
    results = add_records(
        folder, BENCHMARK, records, ("choice", "labels"), {"tblite": version("tblite")}
    )
    print(write_report(folder, results))


def _loop(options: argparse.Namespace, folder: Path) -> ActiveConfig:
    settings: dict[str, Any] = {
        "directory": str(folder / "loop"),
        "rounds": options.rounds,
        "train": {
            "seed": options.seed,
            "data": {
                "train": str(folder / "first.xyz"),
                "validation": str(folder / "validation.xyz"),
            },
            "model": {"name": "tensornet", "num_channels": options.channels, "num_layers": 1},
            "loss": {"energy": {"weight": 100.0}, "forces": {"weight": 10.0}},
            "optimizer": {"learning_rate": 2e-3, "ema_decay": 0.99},
            "training": {"epochs": options.epochs, "batch_size": 5, "validate_every": 10},
        },
        "explore": {
            "structure": str(DATA / "train.xyz"),
            "ensemble": {
                "name": "langevin",
                "temperature": options.temperatures,
                "friction": 0.02,
            },
            "replicas": len(options.temperatures),
            "steps": options.steps,
            "interval": 20,
            "stop": {"forces_std": options.stop},
            "mark": {"forces_std": options.mark},
            "seed": options.seed,
        },
        "uncertainty": {"directions": 16},
        "select": {"count": options.count, "by": options.by},
        "label": {
            "name": "calculator",
            "calculator": "tblite.ase.TBLite",
            "settings": {"method": "GFN2-xTB", "verbosity": 0},
        },
        # Random structures have as many to be validated on.
        "validation_share": 0.0,
    }
    return ActiveConfig.model_validate(settings)


def _of_loop(config: ActiveConfig) -> dict[int, Path]:
    """Return the models of the rounds by their number of labels."""
    rounds = [LoopDirectory(config.directory).round(n) for n in range(config.rounds + 1)]
    return {each.train.facts()["train"]: each.model for each in rounds if each.train.is_done}


def _of_random(
    config: ActiveConfig, structures: Sequence[LabelledStructure], folder: Path, more: Sequence[int]
) -> dict[int, Path]:
    """Train on as many structures as the loop had, and on more, each time on from the model before.

    The first model is that of the loop, which began with the same structures.
    """
    first, *numbers = sorted({*_of_loop(config), *more})
    before = RunDirectory(LoopDirectory(config.directory).round(0).train.path).model
    models = {first: before}
    for labels in numbers:
        file, own = folder / f"random-{labels}.xyz", folder / f"random-{labels}"
        write_canonical(file, structures[:labels])
        section = config.train.model_dump(mode="json")
        section |= {"directory": str(own)}
        section["data"]["train"] = str(file)
        section["start"] = {"model": str(before), "reference_energies": "keep"}
        section["model"] = None
        if train(RunConfig.model_validate(section), resume=True).interrupted:
            raise SystemExit("interrupted: the same command goes on")
        before = models[labels] = RunDirectory(own).model
    return models


def _dynamics(model: Path, test: Sequence[LabelledStructure], picoseconds: float) -> dict[str, Any]:
    """Return what dynamics at 500 K did: how long it ran, how hot it was, how far bonds went.

    Bonds are those of the first test structure; lengths are over their means in the test.
    """
    start = test[0].atoms
    first, second = neighbor_list("ij", start, 1.2 * covalent_radii[start.numbers])

    def lengths(positions: np.ndarray) -> np.ndarray:
        return np.linalg.norm(positions[first] - positions[second], axis=1)

    usual = np.mean([lengths(each.atoms.positions) for each in test], axis=0)
    samples: list[Sample] = []
    ensemble = Langevin(temperature=TEMPERATURE, friction=0.01)
    simulation = Simulation(load_model(model), [start], ensemble, timestep=TIMESTEP)
    steps = round(1000 * picoseconds / TIMESTEP)
    with suppress(SimulationError):
        simulation.run(steps, interval=INTERVAL, observers=[samples.append])
    ratios = np.array([lengths(each.positions) / usual for each in samples])
    times = np.array([each.time for each in samples]) / 1000
    ends = np.unique(np.linspace(0, len(samples), MOST_DRAWN + 1).astype(int))
    parts = list(pairwise(ends.tolist()))
    return {
        "times_ps": [round(float(times[end - 1]), 4) for _, end in parts],
        "longest_bonds": [round(float(ratios[begin:end].max()), 4) for begin, end in parts],
        "picoseconds": samples[-1].time / 1000,
        "temperature": float(np.mean([each.temperature[0] for each in samples])),
        "shortest_bond": float(ratios.min()),
        "longest_bond": float(ratios.max()),
    }


def _errors(model: Path, test: Sequence[LabelledStructure]) -> dict[str, float]:
    """Return RMSE of energies per atom, meV, and forces, meV/Å."""
    potential = load_model(model)
    predictions = potential.evaluate([each.atoms for each in test])
    found = [
        errors_of(prediction, each.labels, len(each))
        for prediction, each in zip(predictions, test, strict=True)
    ]
    return {
        name: 1000
        * float(np.sqrt(np.mean(np.concatenate([np.ravel(e[name]) for e in found]) ** 2)))
        for name in ("energy_per_atom", "forces")
    }


if __name__ == "__main__":
    main()
