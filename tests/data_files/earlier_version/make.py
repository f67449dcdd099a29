"""Write the files of this folder with the installed version of the package.

    python make.py /path/to/folder

It goes through the command line and the public face alone, so that it runs with any version.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

import tensornet_jax

EXAMPLE = Path(tensornet_jax.__file__).parent / "data/examples/ethanol_gfn2/train.xyz"
COMMAND = [sys.executable, "-c", "from tensornet_jax.cli import app; app()"]
SMALL = {"num_channels": 4, "num_layers": 1, "num_radial": 6, "cutoff": 4.0}
SPHERICAL = {"num_channels": 4, "num_layers": 2, "cutoff": 4.0, "l_max": 2}
MODELS: dict[str, dict[str, Any]] = {
    "tensornet": {
        **SMALL,
        "name": "tensornet",
        "num_layers": 2,
        "heads": ["energy", "dipole"],
        "dipole_form": "charges_and_dipoles",
        "tensors": ["polarizability"],
    },
    "tensornet2": {**SMALL, "name": "tensornet2", "num_charges": 4},
    "mace": {**SPHERICAL, "name": "mace", "hidden_l_max": 1, "correlation": 2},
    "escn": {**SPHERICAL, "name": "escn", "hidden_channels": 4, "m_max": 1, "readout_width": 4},
    "priors": {
        **SMALL,
        "name": "tensornet",
        "priors": [{"name": "zbl"}, {"name": "d2"}, {"name": "coulomb", "charges": "predicted"}],
        "electronic_state": ["charge", "spin"],
    },
}
STRUCTURES = {"priors": "cations.xyz", "tensornet2": "cations.xyz"}
# Without a volume there is none, and some take minutes to compile.
LEFT_OUT = ("stress", "hessian", "energies", "free_energy")
ALL_LOSSES = {name: {"weight": 1.0} for name in ("energy", "forces", "dipole")}


def run(*arguments: str) -> None:
    """Run the command line here."""
    subprocess.run([*COMMAND, *arguments], check=True)


def write(path: str, content: dict[str, Any]) -> None:
    """Write a configuration; JSON is YAML."""
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def write_structures() -> None:
    """Write six structures of ethanol, and the same with every other one called a cation."""
    frames = list(ase.io.iread(EXAMPLE, "::100"))[:6]
    for index, atoms in enumerate(frames):
        atoms.info = {
            "REF_energy": atoms.get_potential_energy(),
            "REF_dipole": atoms.get_dipole_moment(),
            "polarizability": np.diag([4.0 + 0.1 * index, 5.0, 6.0]),
        }
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.arrays.pop("charge", None)
        atoms.calc = None
    ase.io.write("ethanol.xyz", frames)
    for index, atoms in enumerate(frames):
        atoms.info |= {"total_charge": index % 2, "spin": 1 + index % 2}
    ase.io.write("cations.xyz", frames)


def train_models() -> None:
    """Train a model of each kind for two steps, and compress one of them."""
    Path("models").mkdir()
    for name, model in MODELS.items():
        config = {
            "directory": f"runs/{name}",
            "data": {"train": STRUCTURES.get(name, "ethanol.xyz"), "validation": "none"},
            "model": model,
            "training": {"epochs": 1, "batch_size": 3},
        }
        write("config.yaml", config | ({"loss": ALL_LOSSES} if name == "tensornet" else {}))
        run("train", "config.yaml")
        shutil.copy(f"runs/{name}/model.safetensors", f"models/{name}.safetensors")
    run(
        *("compress", "models/mace.safetensors", "models/compressed.safetensors"),
        *("--tolerance", "1e-2", "--structures", "ethanol.xyz"),
    )
    shutil.rmtree("runs")
    Path("config.yaml").unlink()


def evaluate_models() -> dict[str, Any]:
    """Return what each model predicts of the first two structures, in float64."""
    found = {}
    for path in sorted(Path("models").glob("*.safetensors")):
        potential = tensornet_jax.load_model(path, dtype="float64")
        frames = list(ase.io.iread(STRUCTURES.get(path.stem, "ethanol.xyz"), ":2"))
        compute = [name for name in potential.properties if name not in LEFT_OUT]
        predictions = potential.evaluate(frames, tuple(compute))
        found[path.stem] = [
            {name: np.asarray(value).tolist() for name, value in each.items()}
            for each in predictions
        ]
    return found


def train_runs() -> None:
    """Train one run to its end, and another, its twin, up to a signal."""
    config = {
        "data": {"train": "ethanol.xyz", "validation": 2},
        "model": SMALL | {"name": "tensornet"},
        "dtype": "float64",
        "optimizer": {
            "name": "amsgrad",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "ema_decay": 0.9,
            "schedule": {"name": "plateau", "patience": 2, "warmup_epochs": 1},
        },
        "training": {"epochs": 24, "batch_size": 2},
    }
    write("train.yaml", config | {"directory": "finished"})
    run("train", "train.yaml")
    write("train.yaml", config | {"directory": "interrupted"})
    with subprocess.Popen([*COMMAND, "train", "train.yaml"]) as process:
        log = Path("interrupted/log_train.csv")
        while not log.exists() or len(log.read_text().splitlines()) < 6:
            time.sleep(1e-3)
        process.send_signal(signal.SIGINT)
    for name in ("finished", "interrupted"):
        (Path(name) / ".lock").unlink(missing_ok=True)
        for drawing in Path(name).rglob("*.png"):
            drawing.unlink()


def simulate() -> None:
    """Run both engines for 20 steps, and 40 for comparison."""
    settings = {
        "model": "models/tensornet.safetensors",
        "structure": "ethanol.xyz",
        "ensemble": {"name": "langevin", "temperature": 300, "friction": 0.02},
        "interval": 10,
        "plot": False,
    }
    engines = {
        "device": {"replicas": 2, "record": {"properties": ["dipole"]}},
        "ase": {"engine": "ase", "formats": ["extxyz", "traj"]},
    }
    Path("md").mkdir()
    for name, options in engines.items():
        for length in (40, 20):
            asked = {**settings, **options, "output": f"md/{name}", "steps": length}
            write(f"md_{name}.yaml", asked)
            run("md", f"md_{name}.yaml")
            if length == 40:
                for path in Path("md").glob(f"{name}*.xyz"):
                    path.rename(f"{path.stem}_40_steps.xyz")
                for path in Path("md").glob(f"{name}*"):
                    path.unlink()
    for path in Path("md").glob("*.lock"):
        path.unlink()


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.chdir(sys.argv[1])
    write_structures()
    train_models()
    Path("predictions.json").write_text(json.dumps(evaluate_models(), indent=1) + "\n")
    train_runs()
    simulate()
