"""A loop of a few seconds: water, EMT for labels, a network of four channels."""

from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
from ase.calculators.emt import EMT

from tensornet_jax.active.config import ActiveConfig


def water(count: int, seed: int = 0, amplitude: float = 0.05) -> list[ase.Atoms]:
    """Return rattled molecules with energies and forces of EMT."""
    frames = []
    for index in range(count):
        atoms = ase.build.molecule("H2O")
        atoms.rattle(amplitude, seed=1000 * seed + index)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    return frames


def write_files(folder: Path) -> None:
    """Write the first structures and the start of dynamics."""
    ase.io.write(folder / "first.xyz", water(10), format="extxyz")
    ase.io.write(folder / "start.xyz", water(1, seed=9)[0], format="extxyz")


def settings(**changes: Any) -> dict[str, Any]:
    """Return a configuration of two rounds; keys with dots in `changes` replace what is below."""
    found: dict[str, Any] = {
        "directory": "loop",
        "rounds": 2,
        "train": {
            "dtype": "float64",
            "data": {"train": "first.xyz", "validation": 3},
            "model": {"name": "tensornet", "num_channels": 4, "num_layers": 0, "num_radial": 4},
            "training": {"epochs": 2, "batch_size": 4, "validation_batch_size": 4},
            "optimizer": {"learning_rate": 1e-3, "schedule": {"name": "constant"}},
        },
        "explore": {
            "structure": "start.xyz",
            "ensemble": {"name": "langevin", "temperature": [200, 400], "friction": 0.02},
            "replicas": 2,
            "steps": 8,
            "interval": 2,
            "timestep": 0.2,
            "stop": {"forces_std": 1e6},
            "mark": {"forces_std": 1e-9},
        },
        "select": {"count": 3, "largest_force": 1e6, "closest": 0.1},
        "label": {"name": "calculator", "calculator": "ase.calculators.emt.EMT"},
        "validation_share": 0.3,
    }
    for key, value in changes.items():
        place = found
        *above, name = key.split(".")
        for each in above:
            place = place[each]
        place[name] = value
    return found


def loop(**changes: Any) -> ActiveConfig:
    """Return the configuration, validated."""
    return ActiveConfig.model_validate(settings(**changes))


def choices(folder: Path) -> dict[str, bytes]:
    """Return what tells two loops apart: choices, labels and models, by name."""
    names = ("selected/selected.xyz", "selected/selected.csv", "labelled/train.xyz")
    names += ("labelled/validation.xyz", "train/sure.safetensors")
    paths = [path for name in names for path in sorted(folder.glob(f"round-*/{name}"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
