"""How LAMMPS divides the atoms of a box over processes, and which ghosts each of them gets.

The box is cut into equal bricks along its lattice vectors. A process owns the atoms in its brick,
and has as ghosts all images of atoms within the brick extended by a distance on every side.
"""

from collections.abc import Iterator
from typing import NamedTuple

import ase
import numpy as np
from jaxtyping import Float, Int

Grid = tuple[int, int, int]


class Share(NamedTuple):
    """The atoms that a process knows.

    positions: of owned atoms and then ghosts, Å.
    atoms: of each, the index in the structure.
    num_owned: how many are owned.
    """

    positions: Float[np.ndarray, "atoms 3"]
    atoms: Int[np.ndarray, " atoms"]
    num_owned: int


def process_grid(cell: Float[np.ndarray, "3 3"], processes: int) -> Grid:
    """Return how many bricks lie along each lattice vector: those of the least surface.

    Args:
        cell: rows are lattice vectors, Å.
        processes: how many bricks.
    """
    a, b, c = cell
    faces = [float(np.linalg.norm(np.cross(*sides))) for sides in ((a, b), (a, c), (b, c))]

    def surface(grid: Grid) -> float:
        x, y, z = grid
        return faces[0] / (x * y) + faces[1] / (x * z) + faces[2] / (y * z)

    return min(_grids(processes), key=surface)


def shares(atoms: ase.Atoms, processes: int, halo: float) -> Iterator[Share]:
    """Yield what each process knows of a structure.

    A direction that is not periodic is as long as it has to be for the atoms in it.

    Args:
        atoms: the structure.
        processes: that share it.
        halo: Å, how far ghosts reach beyond a brick.

    Raises:
        ValueError: no process, or a periodic direction without a lattice vector.
    """
    if processes < 1:
        raise ValueError(f"{processes} processes: a structure is divided over one or more")
    without_vector = atoms.pbc & ~atoms.cell.array.any(axis=1)
    lacking = [name for name, lacks in zip("abc", without_vector, strict=True) if lacks]
    if lacking:
        raise ValueError(f"pbc is True along {', '.join(lacking)}, but there is no lattice vector")
    cell = atoms.cell.complete().array
    fractions = atoms.positions @ np.linalg.inv(cell)
    wrapped = np.where(atoms.pbc, fractions % 1.0, fractions)
    # Rounding makes 1 of the smallest negative numbers.
    wrapped = np.where(atoms.pbc & (wrapped == 1.0), 0.0, wrapped)
    low, high = _box(wrapped, atoms, cell)
    grid = process_grid(cell * (high - low)[:, None], processes)
    margin = halo * np.linalg.norm(np.linalg.inv(cell), axis=0)
    for place in np.ndindex(grid):
        edges = [low + (high - low) * (np.array(place) + step) / grid for step in (0, 1)]
        yield _share(wrapped, atoms, cell, edges[0], edges[1], margin)


def _grids(processes: int) -> Iterator[Grid]:
    for x in range(1, processes + 1):
        for y in range(1, processes // x + 1):
            if processes % (x * y) == 0:
                yield x, y, processes // (x * y)


def _box(
    fractions: Float[np.ndarray, "atoms 3"], atoms: ase.Atoms, cell: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Corners of the box in fractions of the lattice vectors."""
    if not len(atoms):
        return np.zeros(3), np.ones(3)
    has_vector = atoms.cell.array.any(axis=1)
    low, high = fractions.min(axis=0), fractions.max(axis=0)
    # Where the cell has a vector, LAMMPS's box is at least as long.
    low, high = (
        np.where(has_vector, np.minimum(low, 0), low),
        np.where(has_vector, np.maximum(high, 1), high),
    )
    # The last atom is inside, and a plane of atoms has a thickness.
    beyond = np.where(atoms.pbc, 0.0, 1e-6 / np.linalg.norm(cell, axis=1))
    return np.where(atoms.pbc, 0.0, low - beyond), np.where(atoms.pbc, 1.0, high + beyond)


def _share(
    fractions: Float[np.ndarray, "atoms 3"],
    atoms: ase.Atoms,
    cell: Float[np.ndarray, "3 3"],
    low: Float[np.ndarray, "3"],
    high: Float[np.ndarray, "3"],
    margin: Float[np.ndarray, "3"],
) -> Share:
    owned = np.flatnonzero(((fractions >= low) & (fractions < high)).all(axis=1))
    images = np.where(atoms.pbc, np.ceil(margin).astype(int) + 1, 0)
    places, which = [fractions[owned]], [owned]
    for shift in np.ndindex(*(2 * images + 1)):
        moved = fractions + (np.array(shift) - images)
        inside = ((moved >= low - margin) & (moved < high + margin)).all(axis=1)
        if np.array_equal(shift, images):
            inside &= ~np.isin(np.arange(len(atoms)), owned)
        places.append(moved[inside])
        which.append(np.flatnonzero(inside))
    return Share(np.concatenate(places) @ cell, np.concatenate(which), len(owned))
