"""Evaluate what `tensornet-jax export --to stablehlo` wrote; needs jax and numpy alone.

A copy of this file lies in every exported folder, beside the compiled function and its manifest:

    from exported_potential import ExportedPotential

    potential = ExportedPotential("folder")
    results = potential.evaluate(positions, numbers, cell, pbc)

An engine with neighbor lists of its own calls `ExportedPotential.call` with the arrays that
`arrays` shows how to make; manifest.json says what each of them means.
"""

import hashlib
import itertools
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import export
from numpy.typing import ArrayLike

FUNCTION = "potential.jaxexport"
MANIFEST = "manifest.json"
INFINITE = "infinite"
MEAN_OF_POSITIONS = "mean of the positions"
SLOT_BLOCK = 4
COINCIDENT = 1e-6

Manifest: TypeAlias = dict[str, Any]
"""JSON."""

Results: TypeAlias = dict[str, Any]
"""The energy is a float, all others are arrays."""


class ExportedPotential:
    """A potential read from its folder.

    manifest: what manifest.json says.
    call: dict of arrays → dict of arrays, compiled once for each combination of shapes.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        """Read a folder.

        Raises:
            ValueError: the function is not the one the manifest was written with.
            ImportError: the installed jax is known to compute wrong numbers.
        """
        folder = Path(folder)
        self.manifest: Manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        content = (folder / FUNCTION).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.manifest["sha256"]:
            raise ValueError(
                f"{folder / FUNCTION} does not match the checksum in {MANIFEST}: one of them is "
                "damaged or from another export; copy the whole folder again"
            )
        for name in ("jax", "jaxlib"):
            if version(name) in self.manifest["refused_versions"]:
                raise ImportError(
                    f"{name} {version(name)} computes wrong numbers: install another release"
                )
        self._call = jax.jit(export.deserialize(bytearray(content)).call)

    def call(self, arrays: dict[str, np.ndarray] | dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Evaluate arrays as the manifest describes them, on JAX's default device.

        Arrays in float64 are best turned into numpy's before anything is computed with them:
        outside of ``jax.enable_x64`` JAX would round them to float32.
        """
        with jax.enable_x64(self.manifest["dtype"] == "float64"):
            return self._call(arrays)

    def evaluate(
        self,
        positions: ArrayLike,
        numbers: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike = False,
        charge: float = 0.0,
        spin: int | None = None,
        initial_charges: ArrayLike | None = None,
    ) -> Results:
        """Evaluate one structure; arguments as `arrays`.

        Returns:
            energy (eV) and energies (N,), reference energies of the elements included, forces
            (N, 3) eV/Å, stress (3, 3) eV/Å³ (0 without a volume); dipole (3,) e·Å of what is not
            periodic, charges (N,) e, and tensors by name, (3, …) or (N, 3, …). As far as the model
            has them. The dipole of a charged structure is about the origin of the positions, or,
            where the manifest says so, about the center of mass.
        """
        arrays = self.arrays(positions, numbers, cell, pbc, charge, spin, initial_charges)
        results = self._results(self.call(arrays), arrays["species"])
        positions = np.reshape(np.array(positions, float), (-1, 3))
        if np.any(pbc):
            # It has no meaning there.
            results.pop("dipole", None)
        elif "dipole" in results and len(positions) and self._centers_dipoles:
            results["dipole"] = results["dipole"] + charge * positions.mean(axis=0)
        return results

    @property
    def _centers_dipoles(self) -> bool:
        return self.manifest["outputs"]["dipole"].get("origin") == MEAN_OF_POSITIONS

    def _results(self, outputs: dict[str, jax.Array], species: np.ndarray) -> Results:
        """Take off the padding and add reference energies, which float32 would round, in float64.

        `tensornet_jax.potential.results` does the same where the package is installed.
        """
        found = {name: np.asarray(value, float) for name, value in outputs.items()}
        species = species[species >= 0]
        count = len(species)
        results: Results = {}
        if "energies_without_e0" in found:
            reference = np.array(self.manifest["reference_energies"])[species]
            reference += self.manifest["energy_offset"] / max(count, 1)
            results["energies"] = found["energies_without_e0"][:count] + reference
            results["energy"] = float(results["energies"].sum())
        for name in found.keys() - {"energies_without_e0", "energy_without_e0"}:
            each_atom = self.manifest["outputs"][name]["shape"][0] == "atoms"
            results[name] = found[name][:count] if each_atom else found[name][0]
        return results

    def arrays(
        self,
        positions: ArrayLike,
        numbers: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike = False,
        charge: float = 0.0,
        spin: int | None = None,
        initial_charges: ArrayLike | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the arrays that `call` takes, for one structure.

        Sizes are rounded up, so that a changing number of neighbors rarely means to compile again.

        Args:
            positions: (N, 3) Å.
            numbers: (N,) atomic numbers.
            cell: (3, 3) rows are lattice vectors, Å; None without.
            pbc: (3,) bool, or one bool for all directions.
            charge: total charge, e.
            spin: multiplicity 2S + 1, of a potential that depends on it; whether the structure can
                have it is not looked at.
            initial_charges: (N,) e, of a potential with a Coulomb energy of fixed charges.

        Raises:
            ValueError: an element the potential does not know, two atoms at one place, a periodic
                structure where every pair of atoms counts, no spin or no charges where they are
                needed, or a charge or spin on which nothing depends.
        """
        state = self._state(charge, spin)
        positions = np.array(positions, float).reshape(-1, 3)
        cell = np.zeros((3, 3)) if cell is None else np.array(cell, float)
        pbc = np.broadcast_to(np.asarray(pbc, bool), 3)
        count, atoms = len(positions), _round_up(len(positions) + 1)
        # The image in the cell, and the middle at the origin: float32 has digits for no more.
        if pbc.any():
            images = np.floor(positions @ np.linalg.pinv(cell[pbc]))
            positions = positions - images @ cell[pbc]
        centered = positions - (positions.mean(axis=0) if count else 0)
        dtype = self.manifest["dtype"]
        arrays = state | {
            "cell": cell[None].astype(dtype),
            "positions": _padded(centered, atoms, 0, dtype),
            "species": _padded(self._species(numbers), atoms, -1, "int32"),
            "structure": np.zeros(atoms, np.int32),
        }
        if "initial_charges" in self.manifest["inputs"]:
            if initial_charges is None:
                raise ValueError("this potential needs initial_charges, those of the atoms")
            arrays["initial_charges"] = _padded(np.asarray(initial_charges), atoms, 0, dtype)
        for name in ("", "long_") if "long_pairs" in self.manifest["inputs"] else ("",):
            cutoff = self._cutoff(f"{name}cutoff", pbc)
            found = _list_arrays(positions, cell, pbc, cutoff, atoms)
            arrays |= {f"{name}{key}": value for key, value in found.items()}
        return arrays

    def _state(self, charge: float, spin: int | None) -> dict[str, np.ndarray]:
        """Return the arrays of charge and spin, or raise where they are missing or not seen."""
        dtype, wanted = self.manifest["dtype"], self.manifest["inputs"]
        if charge and not self.manifest.get("sees_charge", True):
            raise ValueError(f"charge {charge}: nothing this potential predicts depends on it")
        if spin is not None and "spin" not in wanted:
            raise ValueError(f"spin {spin}: nothing this potential predicts depends on it")
        arrays = {"charge": np.full(1, charge, dtype)}
        if "spin" in wanted:
            if spin is None or spin < 1:
                raise ValueError(f"this potential needs spin, the multiplicity 2S + 1, not {spin}")
            arrays["spin"] = np.full(1, spin, dtype)
        return arrays

    def _cutoff(self, name: str, pbc: np.ndarray) -> float:
        cutoff = self.manifest[name]
        if cutoff != INFINITE:
            return cutoff
        if pbc.any():
            raise ValueError(
                "in this program every pair of atoms counts, of which a periodic structure has "
                "no end: use the model itself, which has Ewald's sum, or export one whose "
                "Coulomb energy has a cutoff"
            )
        return np.inf

    def _species(self, numbers: ArrayLike) -> np.ndarray:
        elements = self.manifest["elements"]
        known = {number: k for k, number in enumerate(elements["numbers"])}
        present = np.asarray(numbers).tolist()
        unknown = sorted(set(present) - set(known))
        if unknown:
            raise ValueError(
                f"atomic numbers {unknown} are not in the potential "
                f"[{', '.join(elements['symbols'])}]"
            )
        return np.array([known[number] for number in present], int)


def neighbor_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (P, 2) closer than the cutoff, each once, and their lattice shifts (P, 3).

    The vector of a pair is positions[pair[1]] + shift @ cell − positions[pair[0]]. Positions lie in
    the cell. The work grows with the square of the number of atoms.
    """
    reach = np.zeros(3, int)
    if pbc.any():
        # |fractional component| ≤ distance · |reciprocal vector|, and atoms differ by less than 1.
        reach[pbc] = np.ceil(cutoff * np.linalg.norm(np.linalg.pinv(cell[pbc]), axis=0))
    pairs, shifts = [], []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        # Of a shift and its opposite one is enough, and without shift half of the pairs.
        if shift < (0, 0, 0):
            continue
        vectors = positions + np.array(shift) @ cell - positions[:, None]
        near = np.einsum("ijk,ijk->ij", vectors, vectors)
        close = near < cutoff**2
        if shift == (0, 0, 0):
            close = np.triu(close, 1)
        if (near[close] < COINCIDENT**2).any():
            raise ValueError("two atoms are at one place")
        found = np.argwhere(close)
        pairs.append(found)
        shifts.append(np.broadcast_to(shift, (len(found), 3)))
    return np.concatenate(pairs), np.concatenate(shifts)


def incoming_edges(pairs: np.ndarray, num_atoms: int) -> np.ndarray:
    """Return the table of edges that arrive at each atom, (N, K) int32.

    Pair p = (i, j) of P is two edges: number p arrives at i, number P + p at j. The last pair is
    padding, as is every pair of the last atom; unused places hold 2P − 1. K is a multiple of four.
    """
    receivers = np.concatenate([pairs[:, 0], pairs[:, 1]])
    edges = np.flatnonzero(receivers != num_atoms - 1)
    edges = edges[np.argsort(receivers[edges], kind="stable")]
    owners = receivers[edges]
    places = np.arange(len(edges)) - np.searchsorted(owners, owners)
    width = -(-_round_up(int(places.max(initial=0)) + 1) // SLOT_BLOCK) * SLOT_BLOCK
    table = np.full((num_atoms, width), 2 * len(pairs) - 1, np.int32)
    table[owners, places] = edges
    return table


def _list_arrays(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, atoms: int
) -> dict[str, np.ndarray]:
    """Return padded pairs, shifts and incoming_edges of one list."""
    pairs, shifts = neighbor_pairs(positions, cell, pbc, cutoff)
    size = _round_up(len(pairs) + 1)
    padded = _padded(pairs, size, atoms - 1, "int32")
    return {
        "pairs": padded,
        "shifts": _padded(shifts, size, 0, "int32"),
        "incoming_edges": incoming_edges(padded, atoms),
    }


def _padded(values: np.ndarray, size: int, fill: float, dtype: str) -> np.ndarray:
    array = np.full((size, *values.shape[1:]), fill, dtype)
    array[: len(values)] = values
    return array


def _round_up(size: int) -> int:
    """Round up to 4, 5, 6 or 7 times a power of two."""
    size = int(size)
    if size <= 4:
        return 4
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step
