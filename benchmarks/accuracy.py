"""Train every code for the same wall time on the same structures, and compare their errors.

python benchmarks/accuracy.py DATA [--minutes 20] [--sets acac 3bpa ethanol]
    [--codes tensornet mace mace-gaunt escn mace-torch torchmd-net] [--recipe NAME]
    [--python PEER_PYTHON] [--epochs N] [--seed 0] [--threads 2] [--frames N] [--folder FOLDER]
    [--report]

DATA has folders acac, 3bpa and rmd17_ethanol, as tensornet-jax fetch makes them. mace-torch and
torchmd-net are run by PEER_PYTHON, an interpreter that has them (pip install mace-torch torchmd-net
torch); this package need not be there. Every run is a process of its own on the first CPUs, from
its start to its end, without anything compiled before. How many epochs fit is found by two short
runs, or said by --epochs. A recipe changes settings (equal_time/ours.py, equal_time/peers.py);
several of ours are joined by a plus. Each run replaces what results.json has of its set, code,
recipe, time and seed, so that they may be made one after the other, and the tables show of each
code the recipe that is best on the validation set. --report only writes the tables again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from equal_time.data import SETS, Labels, Split, errors, labels_of, load_labels, read_split
from equal_time.data import reference_energies as references_of
from equal_time.epochs import PILOTS, epochs_in, seconds_each
from equal_time.ours import (
    MODEL_FILE,
    MODELS,
    commands,
    configurations,
    predictions,
    recipe_named,
    write_data,
)
from equal_time.peers import PEERS, PREDICTIONS, write_tests
from equal_time.report import report
from results_file import add_records, results_folder

from tensornet_jax.train.reporting.csv_log import read_rows

BENCHMARK = "accuracy"
KEYS = ("set", "code", "recipe", "minutes", "seed")
LOG_LINES = 30
LEAST_FRAMES = 5


@dataclass(frozen=True)
class Case:
    """What is trained, and how long.

    Attributes:
        data_set: one of `SETS`.
        code: one of ours, or a peer.
        recipe: what of its settings is changed.
        minutes: of wall time.
        seed: of initial weights and order of batches.
        threads: CPUs it may use.
        python: interpreter of peers.
    """

    data_set: str
    code: str
    recipe: str
    minutes: float
    seed: int
    threads: int
    python: str


def in_time(lines: Sequence[Sequence[str]], threads: int, log: Path) -> float:
    """Run commands one after the other, and return their seconds of wall time.

    Raises:
        RuntimeError: one of them failed; with the end of what it printed.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    # A user who trains for the first time has nothing compiled, and no GPU is asked for.
    environment |= {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}
    # torchmd-train reads back the checkpoint it has just written, which is no plain weights.
    environment |= {"CUDA_VISIBLE_DEVICES": "", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    begun = perf_counter()
    for line in lines:
        with log.open("w", encoding="utf-8") as file:
            done = subprocess.run(
                line,
                env=environment,
                cwd=log.parent,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            raise RuntimeError("\n".join([f"{' '.join(line)} failed:", *end]))
    return perf_counter() - begun


@dataclass(frozen=True)
class Trained:
    """What training left.

    Attributes:
        seconds: of wall time.
        epochs: reached.
        model: file of the weights that were best on the validation set.
        settings: what was trained with, files left out.
        each: seconds of an epoch, None where the code does not log them.
    """

    seconds: float
    epochs: float
    model: Path
    settings: Any
    each: float | None = None


def trained(
    case: Case, split: Split, epochs: int, folder: Path, limit: float | None = None
) -> Trained:
    """Train for so many epochs in a folder, ours no longer than a limit in minutes."""
    folder.mkdir()
    log = folder / "output.txt"
    if case.code in MODELS:
        write_data(split, folder)
        recipe = recipe_named(case.recipe)
        configs = configurations(case.code, recipe, folder, epochs, limit, case.seed)
        seconds = in_time(commands(configs, folder), case.threads, log)
        settings = [
            config.model_dump(mode="json", include={"model", "loss", "optimizer", "training"})
            for config in configs
        ]
        runs = [Path(config.directory) for config in configs]
        logs = [read_rows(run / "log_train.csv") for run in runs]
        reached = sum(rows[-1]["epoch"] for rows in logs)
        return Trained(seconds, reached, runs[-1] / MODEL_FILE, settings, seconds_each(logs[0]))
    peer = PEERS[case.code]
    changes = peer.recipes[case.recipe]
    peer.write(split, folder)
    settings = peer.settings(split, epochs, changes, case.seed)
    line = [case.python, *peer.arguments(folder, settings)]
    seconds = in_time([line], case.threads, log)
    return Trained(seconds, epochs, peer.model(folder), settings)


def evaluated(case: Case, split: Split, model: Path) -> tuple[dict[str, Labels], int, str]:
    """Return predictions of all sets, the number of parameters, and the version of the code."""
    if case.code in MODELS:
        found, parameters = predictions(model, split.evaluated())
        return found, parameters, version("tensornet_jax")
    structures, target = model.parent / "structures.npz", model.parent / "predictions.npz"
    write_tests(split.evaluated(), references_of(split.train), structures)
    line = [case.python, str(PREDICTIONS), case.code, str(model), str(structures), str(target)]
    log = model.parent / "predictions.txt"
    in_time([line], case.threads, log)
    # Libraries may warn around it.
    printed = log.read_text(encoding="utf-8").splitlines()
    facts = json.loads(next(line for line in reversed(printed) if line.startswith("{")))
    return load_labels(target), facts["parameters"], facts["versions"][case.code]


def record(case: Case, split: Split, epochs: int | None, say: Callable[[str], None]) -> Any:
    """Train and evaluate one case, the number of epochs found first unless it is given."""
    name = f"{case.data_set} {case.code} {case.recipe}"
    with tempfile.TemporaryDirectory() as temporary:
        pilots: list[tuple[int, float]] = []
        each = None
        if epochs is None:
            for few in PILOTS:
                short = trained(case, split, few, Path(temporary) / f"pilot_{few}")
                pilots.append((few, short.seconds))
                each = short.each
                say(f"{name}: {few} epochs in {short.seconds:.1f} s")
            epochs = epochs_in(case.minutes, (pilots[0], pilots[1]), each)
            say(f"{name}: {epochs} epochs are to fit into {case.minutes:g} minutes")
        run = trained(case, split, epochs, Path(temporary) / "run", case.minutes)
        say(f"{name}: {run.epochs:g} epochs in {run.seconds:.1f} s")
        found, parameters, own_version = evaluated(case, split, run.model)
    return {
        "set": case.data_set,
        "code": case.code,
        "version": own_version,
        "recipe": case.recipe,
        "minutes": case.minutes,
        "seed": case.seed,
        "threads": case.threads,
        "epochs": run.epochs,
        "epochs_planned": epochs,
        "seconds": run.seconds,
        "pilots": pilots,
        "parameters": parameters,
        "structures": {
            "train": len(split.train),
            **{name: len(each) for name, each in split.evaluated().items()},
        },
        "settings": run.settings,
        "errors": {
            name: errors(labels_of(structures), found[name])
            for name, structures in split.evaluated().items()
        },
    }


def arguments_given() -> argparse.Namespace:
    """Return what the command line says."""
    codes = (*MODELS, *PEERS)
    parser = argparse.ArgumentParser(description="Train every code for the same wall time.")
    parser.add_argument("data", type=Path, help="folder of the data sets' folders")
    parser.add_argument("--minutes", type=float, default=20.0, help="of wall time, each run")
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--codes", nargs="+", choices=codes, default=codes)
    parser.add_argument("--recipe", default="default", help="settings that are changed")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--epochs", type=int, help="in place of what short runs say")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--frames", type=int, help=f"of each part, to try things out; {LEAST_FRAMES} at least"
    )
    parser.add_argument("--folder", type=Path, help=f"default: results/MACHINE/{BENCHMARK}")
    parser.add_argument("--report", action="store_true", help="only write the tables again")
    return parser.parse_args()


def main() -> None:
    """Run and write results.json and README.md."""
    given = arguments_given()
    folder = results_folder(BENCHMARK, given.folder)
    page = folder / "README.md"
    if given.report:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        page.write_text(report(results), encoding="utf-8")
        return
    for code in given.codes:
        if code in MODELS:
            recipe_named(given.recipe)
        elif given.recipe not in PEERS[code].recipes:
            known = ", ".join(PEERS[code].recipes)
            raise SystemExit(f"no recipe {given.recipe!r} of {code}: there are {known}")
    if given.frames is not None and given.frames < LEAST_FRAMES:
        raise SystemExit(f"--frames: mace-torch drops batches of fewer than {LEAST_FRAMES}")
    python = shutil.which(given.python)
    if python is None:
        raise SystemExit(f"--python {given.python}: there is no such interpreter")
    # What is started has no more CPUs than what starts it.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    for data_set in given.sets:
        split = read_split(given.data, data_set, given.frames)
        for code in given.codes:
            case = Case(
                data_set,
                code,
                given.recipe,
                given.minutes,
                given.seed,
                given.threads,
                str(Path(python).absolute()),
            )
            new = record(case, split, given.epochs, lambda text: print(text, flush=True))
            results = add_records(folder, BENCHMARK, [new], KEYS, {})
            page.write_text(report(results), encoding="utf-8")
    print(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
