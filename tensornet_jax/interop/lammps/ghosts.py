"""Whether the ghosts of LAMMPS reach as far as a potential looks.

LAMMPS gives a process the images of all atoms within its part of the box, extended by a cutoff on
every side. How many there would be for the cutoff that a potential needs can be counted, and if
there are fewer, some are missing.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tensornet_jax.graph.part import Lattice
from tensornet_jax.interop.lammps.processes import Lammps, Processes


class Domain(NamedTuple):
    """The box, and the part of it that belongs to a process.

    cell: rows are lattice vectors, Å.
    origin: Å.
    pbc: which directions repeat.
    low: corner of the process's part, in fractions of the lattice vectors.
    high: the opposite corner.
    """

    cell: Float[np.ndarray, "3 3"]
    origin: Float[np.ndarray, "3"]
    pbc: Bool[np.ndarray, "3"]
    low: Float[np.ndarray, "3"]
    high: Float[np.ndarray, "3"]


def lattice_of(lmp: Lammps) -> Lattice:
    """Return how the box repeats now."""
    low, high, xy, yz, xz, pbc, _ = lmp.extract_box()
    cell = np.diag(np.array(high) - np.array(low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return Lattice(cell, np.array(pbc, bool))


def domain_of(lmp: Lammps) -> Domain:
    """Return the box and the part of this process, as LAMMPS has them."""
    low, high = (np.array(corner) for corner in lmp.extract_box()[:2])
    cell, pbc = lattice_of(lmp)
    if lmp.extract_setting("triclinic"):
        corners = (lmp.extract_global("sublo_lambda"), lmp.extract_global("subhi_lambda"))
        fractions = [np.array(corner) for corner in corners]
    else:
        corners = (lmp.extract_global("sublo"), lmp.extract_global("subhi"))
        fractions = [(np.array(corner) - low) / (high - low) for corner in corners]
    return Domain(cell, low, pbc, *fractions)


def ghosts_within(
    reach: float,
    domain: Domain,
    positions: Float[np.ndarray, "owned 3"],
    processes: Processes,
) -> int:
    """Count the ghosts that all processes together need; every process has to call it.

    Args:
        reach: Å.
        domain: of this process.
        positions: of the atoms it owns, Å.
        processes: that share the box.
    """
    heights = 1 / np.linalg.norm(np.linalg.inv(domain.cell), axis=0)
    margin = reach / heights
    fractions = (positions - domain.origin) @ np.linalg.inv(domain.cell)
    total = 0
    # Slightly inside, since atoms on the limit may go either way.
    margin = margin * (1 - 1e-9)
    for low, high in processes.parts(domain.low, domain.high):
        inside = np.ones(len(positions), int)
        for axis in range(3):
            images = int(np.ceil(margin[axis]) + 1) * int(domain.pbc[axis])
            shifted = fractions[:, axis, None] + np.arange(-images, images + 1)
            lower, upper = low[axis] - margin[axis], high[axis] + margin[axis]
            inside *= ((shifted > lower) & (shifted < upper)).sum(axis=1)
        total += int(inside.sum())
    counted = processes.sum(np.array([float(total), -float(len(positions))]))
    return round(counted.sum())
