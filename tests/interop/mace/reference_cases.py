"""Cases that mace-torch evaluated: weights, arguments, structures and results."""

import json
from pathlib import Path
from typing import Any

import ase
import numpy as np

from tensornet_jax.potential.potential import Potential
from tests import tolerances


class Case:
    """One structure, with one head of the model: what mace-torch made of it."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self.head = bytes(arrays["name"]).decode().partition("|")[2]

    def atoms(self) -> ase.Atoms:
        pbc = self.arrays["pbc"]
        cell = self.arrays["cell"] if pbc.any() else None
        state = {key: self.arrays[key].item() for key in ("charge", "spin") if key in self.arrays}
        numbers, positions = self.arrays["numbers"], self.arrays["positions"]
        return ase.Atoms(numbers, positions, cell=cell, pbc=pbc, info=state)


class Reference:
    """One model of the reference set and its cases."""

    def __init__(self, path: Path):
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
        self.config: dict[str, Any] = json.loads(bytes(arrays["config_json"]).decode())
        self.state = _below(arrays, "param/")
        count = sum(name.endswith("/energy") for name in arrays)
        self.cases = [Case(_below(arrays, f"case{k}/")) for k in range(count)]

    def check(self, potential: Potential, head: str) -> None:
        """Assert that a potential has the numbers of one head."""
        cases = [case for case in self.cases if case.head == head]
        for stressed in (False, True):
            some = [case for case in cases if ("stress" in case.arrays) == stressed]
            compute = ["energy", "energies", "forces", *(["stress"] if stressed else [])]
            found = potential.evaluate([case.atoms() for case in some], compute)
            for case, result in zip(some, found, strict=True):
                expected = case.arrays
                energy = float(expected["energy"])
                assert abs(result["energy"] - energy) < tolerances.MACE * abs(energy)
                _close(result["energies"], expected["node_energy"], tolerances.MACE)
                _close(result["forces"], expected["forces"], tolerances.MACE)
                if stressed:
                    _close(result["stress"], expected["stress"], tolerances.MACE)


def _below(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
