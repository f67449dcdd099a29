"""Evaluate a peer's trained model: run by the interpreter that has the peer, by its path.

python peer_predictions.py CODE MODEL STRUCTURES.npz PREDICTIONS.npz

Prints versions and the number of parameters as JSON.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import numpy as np
from data import Labels, save_labels

PACKAGES = {"mace-torch": ("mace-torch", "torch"), "torchmd-net": ("torchmd-net", "torch")}
# Numbers and positions of a structure → its energy in eV and forces in eV/Å.
Evaluate = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def of_mace(path: str) -> tuple[Evaluate, Any]:
    """Return what evaluates a model of mace-torch, and the model."""
    make = import_module("mace.calculators").MACECalculator
    calculator = make(model_paths=path, device="cpu", default_dtype="float32")

    def evaluate(numbers: np.ndarray, positions: np.ndarray) -> tuple[float, np.ndarray]:
        atoms = ase.Atoms(numbers, positions)
        calculator.calculate(atoms, ["energy", "forces"])
        return float(calculator.results["energy"]), np.array(calculator.results["forces"])

    return evaluate, calculator.models[0]


def of_torchmdnet(path: str) -> tuple[Evaluate, Any]:
    """Return what evaluates a model of torchmd-net, and the model."""
    torch: Any = import_module("torch")
    model = import_module("torchmdnet.models.model").load_model(path, derivative=True)
    model.eval()

    def evaluate(numbers: np.ndarray, positions: np.ndarray) -> tuple[float, np.ndarray]:
        z = torch.tensor(numbers, dtype=torch.long)
        energy, forces = model(z, torch.tensor(positions, dtype=torch.float32), torch.zeros_like(z))
        return float(energy), forces.detach().numpy()

    return evaluate, model


def main() -> None:
    """Evaluate every structure of every set."""
    code, path, structures, target = sys.argv[1:]
    evaluate, model = {"mace-torch": of_mace, "torchmd-net": of_torchmdnet}[code](path)
    found: dict[str, Labels] = {}
    with np.load(structures) as file:
        for name in dict.fromkeys(key.rpartition("/")[0] for key in file.files):
            ends = np.cumsum(file[f"{name}/sizes"])[:-1]
            numbers = np.split(file[f"{name}/numbers"], ends)
            positions = np.split(file[f"{name}/positions"], ends)
            results = [evaluate(*each) for each in zip(numbers, positions, strict=True)]
            energies = np.array([energy for energy, _ in results], np.float64)
            forces = np.concatenate([own for _, own in results]).astype(np.float64)
            found[name] = Labels(energies + file[f"{name}/counted"], forces)
    save_labels(Path(target), found)
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {package: version(package) for package in PACKAGES[code]},
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
