"""Derivatives from differences of energies alone, of whatever gives energies."""

from collections.abc import Callable, Sequence

import ase
import numpy as np

DISPLACEMENT = 1e-4
"""Å: the error of the difference quotient is about 1e-8 of the third derivative."""

STRAIN = 1e-4

Energies = Callable[[Sequence[ase.Atoms]], Sequence[float]]
"""From structures to their energies, eV: all displaced structures are evaluated at once."""

Forces = Callable[[Sequence[ase.Atoms]], Sequence[np.ndarray]]


def numerical_forces(
    structures: Sequence[ase.Atoms], energies: Energies, displacement: float = DISPLACEMENT
) -> list[np.ndarray]:
    """Return −∂E/∂r of every atom of every structure, (N, 3) eV/Å each."""
    displaced = [moved for atoms in structures for moved in _displaced(atoms, displacement)]
    slopes = _slopes(energies(displaced), displacement)
    ends = np.cumsum([3 * len(atoms) for atoms in structures])
    return [-part.reshape(-1, 3) for part in np.split(slopes, ends[:-1])]


def numerical_hessian(
    atoms: ase.Atoms, forces: Forces, displacement: float = DISPLACEMENT
) -> np.ndarray:
    """Return −∂F/∂r, (3N, 3N) eV/Å²; a row for each displaced coordinate."""
    slopes = _slopes(forces(_displaced(atoms, displacement)), displacement)
    return -slopes.reshape(3 * len(atoms), -1)


def numerical_stresses(
    structures: Sequence[ase.Atoms], energies: Energies, strain: float = STRAIN
) -> list[np.ndarray]:
    """Return (1/|V|) ∂E/∂ε of every structure, (3, 3) eV/Å³ each, ε a symmetric strain."""
    directions = [0.5 * (np.outer(a, b) + np.outer(b, a)) for a in np.eye(3) for b in np.eye(3)]
    strained = [
        transformed(atoms, np.eye(3) + sign * strain * direction)
        for atoms in structures
        for direction in directions
        for sign in (1, -1)
    ]
    slopes = _slopes(energies(strained), strain).reshape(-1, 3, 3)
    return [
        slope / abs(np.linalg.det(atoms.cell.array))
        for slope, atoms in zip(slopes, structures, strict=True)
    ]


def transformed(atoms: ase.Atoms, matrix: np.ndarray) -> ase.Atoms:
    """Return the structure with positions and cell turned, mirrored or strained: r → M r."""
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.T)
    moved.positions = atoms.positions @ matrix.T
    return moved


def difference_from_quotient(
    analytic: np.ndarray, numerical: Callable[[float], np.ndarray], step: float, tolerance: float
) -> np.ndarray:
    """|analytic − numerical|, the error in the square of the step taken off where it matters."""
    found = numerical(step)
    difference = np.abs(analytic - found)
    if difference.max(initial=0) > tolerance:
        difference = np.abs(analytic - (4 * numerical(step / 2) - found) / 3)
    return difference


def _slopes(values: Sequence[float] | Sequence[np.ndarray], step: float) -> np.ndarray:
    """Return the difference quotients of values that alternate between forward and backward."""
    array = np.asarray(values)
    return (array[::2] - array[1::2]) / (2 * step)


def _displaced(atoms: ase.Atoms, displacement: float) -> list[ase.Atoms]:
    """Return copies with one coordinate moved: x of atom 0 forward, backward, y of atom 0, …"""
    copies = []
    for coordinate in range(3 * len(atoms)):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[divmod(coordinate, 3)] += sign * displacement
            copies.append(moved)
    return copies
