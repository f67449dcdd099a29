"""Cases that torchmd-net evaluated: weights, settings, structures and results."""

import json
from pathlib import Path

import ase
import numpy as np


def relative_error(found, expected) -> float:
    """Largest deviation over the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


class Reference:
    """One case of the reference set."""

    def __init__(self, path: Path):
        with np.load(path) as case:
            self.arrays = {name: case[name] for name in case.files}
        self.config = json.loads(bytes(self.arrays["config_json"]).decode())
        self.state = self.section("param/")

    def section(self, prefix: str) -> dict[str, np.ndarray]:
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    def atoms(self) -> list[ase.Atoms]:
        batch = self.arrays["in/batch"]
        structures = []
        for k in range(batch.max() + 1):
            atoms = ase.Atoms(
                numbers=self.arrays["in/z"][batch == k], positions=self.arrays["in/pos"][batch == k]
            )
            if "in/box" in self.arrays:
                atoms.set_cell(self.arrays["in/box"])
                atoms.pbc = True
            if "in/q" in self.arrays:
                atoms.info["charge"] = float(self.arrays["in/q"][k])
            structures.append(atoms)
        return structures
