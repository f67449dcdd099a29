"""The bins of the neighbor list on the device: their static sizes, chosen on the host.

Space is cut into bins along the lattice vectors, or along directions perpendicular to the lattice
where the structure does not repeat. How many bins there are, how many of them a cutoff reaches
and how many atoms one holds are constants of the compiled search; where they lie follows the cell.
"""

import itertools
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32

from tensornet_jax.graph.arrays import ArrayT

WORD = 32
"""Most bits of a word, in which the search keeps what it found for an atom in another bin."""

# Bins are this much longer than they must be: rounding takes no neighbor out of reach.
LEAST_MARGIN = 1.001
# Periodic bins begin this fraction of a bin away from the mean position: the planes of a crystal
# shall not lie on faces of bins, where rounding decides which bin an atom is in.
OFFSET = 0.382
# Bins that may be laid for each atom; two fragments far apart would ask for millions.
BINS_PER_ATOM = 4
# Widths of bins to choose from, in cutoffs. Narrow ones test fewer pairs of atoms, but every pair
# of bins costs a word for each atom.
WIDTHS = (0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 6, 8, 16, np.inf)
# Distances tested in the time that a word takes, measured on two CPU cores.
TESTS_PER_WORD = 32

Periodic = tuple[bool, bool, bool]


class CellListCapacity(NamedTuple):
    """Static sizes of the neighbor list on the device; hashable.

    Attributes:
        bins: number of bins along each direction.
        per_bin: atoms that fit into a bin.
        pairs: pairs that fit, one padding pair included.
        slots: edges arriving at one atom that fit; a multiple of ``SLOT_BLOCK``.
        reach: how many bins away a neighbor can be along each direction.
        widths: Å, of the bins along directions that are not periodic; 0 along periodic ones,
            where bins stretch with the cell.
    """

    bins: tuple[int, int, int]
    per_bin: int
    pairs: int
    slots: int
    reach: tuple[int, int, int]
    widths: tuple[float, float, float]

    @property
    def num_bins(self) -> int:
        """Number of bins in all."""
        return self.bins[0] * self.bins[1] * self.bins[2]

    @property
    def words(self) -> int:
        """Number of words for the atoms of one bin."""
        return -(-self.per_bin // WORD)

    @property
    def bits(self) -> int:
        """Number of bits used of each word."""
        return -(-self.per_bin // self.words)

    @property
    def rows(self) -> int:
        """Number of places for atoms in one bin, `per_bin` rounded up to whole words."""
        return self.words * self.bits

    @property
    def candidates(self) -> int:
        """Number of distances that are tested."""
        return self.num_bins * self.rows**2 * len(forward_stencil(self.reach))


def forward_stencil(reach: tuple[int, int, int]) -> Int32[np.ndarray, "steps 3"]:
    """Bin itself and every second one of the bins within reach: none is minus another."""
    ranges = (range(-r, r + 1) for r in reach)
    return np.array([s for s in itertools.product(*ranges) if s >= (0, 0, 0)], np.int32)


def search_box(
    cell: Float[ArrayT, "3 3"], periodic: Periodic, xp: ModuleType
) -> Float[ArrayT, "3 3"]:
    """Lattice vectors, with unit vectors perpendicular to them along open directions, Å.

    Args:
        cell: Å; rows of open directions are ignored.
        periodic: which directions repeat.
        xp: numpy or jax.numpy, whose array `cell` is.
    """
    lattice = [a for a in range(3) if periodic[a]]
    opened = [a for a in range(3) if not periodic[a]]
    rows = [cell[a] for a in range(3)]
    if len(opened) == 3:
        rows = list(xp.eye(3, dtype=cell.dtype))
    elif len(opened) == 2:
        along = rows[lattice[0]]
        # The Cartesian axis farthest from the lattice vector gives the best conditioned plane.
        axis = xp.eye(3, dtype=cell.dtype)[xp.argmin(xp.abs(along))]
        rows[opened[0]] = _unit(xp.cross(along, axis), xp)
        rows[opened[1]] = _unit(xp.cross(along, rows[opened[0]]), xp)
    elif len(opened) == 1:
        rows[opened[0]] = _unit(xp.cross(rows[lattice[0]], rows[lattice[1]]), xp)
    return xp.stack(rows)


def _unit(vector: Float[ArrayT, "3"], xp: ModuleType) -> Float[ArrayT, "3"]:
    return vector / xp.sqrt(xp.sum(vector * vector))


def inverse_of(box: Float[ArrayT, "3 3"], xp: ModuleType) -> Float[ArrayT, "3 3"]:
    """Inverse of a matrix from its minors: neither a pivot nor a call of LAPACK."""
    normals = xp.cross(box[xp.array([1, 2, 0])], box[xp.array([2, 0, 1])])
    return normals.T / xp.sum(box[0] * normals[0])


def heights(inverse: Float[ArrayT, "3 3"], xp: ModuleType) -> Float[ArrayT, "3"]:
    """Distances between opposite faces of a box, Å, from its inverse."""
    return 1 / xp.sqrt(xp.sum(inverse * inverse, axis=0))


def with_headroom(fullest: int, headroom: float) -> int:
    """Places in a bin, given the atoms in the fullest one; one more at least, if any more."""
    return max(int(fullest * headroom), fullest + (headroom > 1))


def choose_grid(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Periodic,
    cutoff: float,
    headroom: float,
) -> CellListCapacity:
    """Choose bins by counting the work of several widths; pairs and slots are left at 1 and 0.

    Args:
        positions: Å.
        cell: Å.
        periodic: which directions repeat.
        cutoff: Å.
        headroom: factor on the fullest bin; periodic heights may shrink by its cube root.
    """
    opened = ~np.array(periodic)
    inverse = inverse_of(search_box(cell, periodic, np), np)
    fractions = positions @ inverse
    # As on the device, bins lie about the mean position.
    fractions -= fractions.sum(axis=0) / max(len(fractions), 1)
    lengths = np.where(
        opened, 2 * abs(fractions).max(axis=0, initial=0) + cutoff / 2, heights(inverse, np)
    )
    needed = cutoff * max(headroom ** (1 / 3), LEAST_MARGIN)
    most = max(BINS_PER_ATOM * len(positions), 1)

    best, least = None, np.inf
    for width in WIDTHS:
        counts = np.maximum(lengths // (width * needed), 1)
        if counts.prod() > most:
            continue
        counts = counts.astype(int)
        widths = lengths / counts
        reach = np.ceil(needed / widths).astype(int)
        reach[opened] = np.minimum(reach, counts - 1)[opened]
        coordinates = fractions * counts + OFFSET
        coordinates = np.where(opened, fractions / widths + counts / 2, coordinates % counts)
        bins = np.clip(coordinates.astype(int), 0, counts - 1)
        held = np.unique(np.ravel_multi_index(bins.T, counts), return_counts=True)[1]
        grid = CellListCapacity(
            bins=(int(counts[0]), int(counts[1]), int(counts[2])),
            per_bin=with_headroom(int(held.max(initial=1)), headroom),
            pairs=1,
            slots=0,
            reach=(int(reach[0]), int(reach[1]), int(reach[2])),
            widths=tuple(np.where(opened, widths, 0).tolist()),
        )
        work = grid.candidates * (1 + TESTS_PER_WORD * grid.words / grid.rows)
        if work < least:
            best, least = grid, work
    assert best is not None  # the single bin of infinite width is always allowed
    return best
