"""Neighbor list on the host: every pair of atoms closer than the cutoff, images included.

Right for any combination of periodic directions, triclinic and left-handed cells, cells smaller
than the cutoff, positions outside the cell and molecules without a cell. The search itself is
matscipy's cell list.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from matscipy.neighbours import neighbour_list
from numpy.typing import ArrayLike

# Two nuclei this close, in Å, are one atom entered twice; the energy there means nothing.
COINCIDENT = 1e-6
# Farther out, in Å, a double no longer resolves COINCIDENT: only a run that blew up gets there.
FARTHEST = 1e7
# A periodic vector whose part outside the plane of the others is smaller than this fraction of
# its length spans no volume.
DEPENDENT = 1e-6
# Cells the search may divide space into, whatever the number of atoms. matscipy allocates all of
# them: two fragments 5000 Å apart would cost seconds and gigabytes.
SMALLEST_LIMIT_ON_BINS = 100_000


@dataclass(frozen=True)
class Pairs:
    """Undirected neighbor pairs of one structure, each exactly once.

    The vector of a pair is `positions[second] + shifts @ cell - positions[first]`. `first <=
    second`; an atom paired with its own image has of the two opposite shifts the one whose first
    non-zero number is positive. Pairs are sorted by first, then second.

    Attributes:
        first: atom index.
        second: atom index.
        shifts: lattice shifts; 0 along directions that are not periodic.
    """

    first: Int32[np.ndarray, " pairs"]
    second: Int32[np.ndarray, " pairs"]
    shifts: Int32[np.ndarray, "pairs 3"]

    def __len__(self) -> int:
        return len(self.first)

    def directed(
        self,
    ) -> tuple[
        Int32[np.ndarray, " edges"], Int32[np.ndarray, " edges"], Int32[np.ndarray, "edges 3"]
    ]:
        """Return receivers, senders and shifts; of P pairs, edge e + P is the reverse of e."""
        return (
            np.concatenate([self.first, self.second]),
            np.concatenate([self.second, self.first]),
            np.concatenate([self.shifts, -self.shifts]),
        )

    def vectors(
        self, positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"]
    ) -> Float[np.ndarray, "pairs 3"]:
        """Return vectors from first to second in Å.

        Args:
            positions: Å.
            cell: rows are lattice vectors, Å.
        """
        return positions[self.second] + self.shifts @ cell - positions[self.first]


def neighbor_pairs(positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float) -> Pairs:
    """Find every pair of atoms, periodic images included, at a distance below the cutoff.

    Args:
        positions: (N, 3) Å; may lie outside the cell, shifts refer to them as they are.
        cell: (3, 3) rows are lattice vectors, Å; rows of directions that are not periodic are
            ignored and may be zero.
        pbc: (3,) bool, or one bool for all directions.
        cutoff: Å; pairs have distance < cutoff.

    Raises:
        ValueError: positions or cell are not finite or of the wrong shape, an atom is farther than
            FARTHEST from the origin, the cutoff is not positive, a periodic lattice vector is zero
            or depends on the others, or two atoms coincide.
    """
    positions = np.asarray(positions, np.float64)
    cell = np.asarray(cell, np.float64)
    periodic = np.broadcast_to(np.asarray(pbc, bool), 3)
    _check_geometry(positions, cell, periodic, cutoff)
    if len(positions) == 0:
        none = np.zeros(0, np.int32)
        return Pairs(none, none, np.zeros((0, 3), np.int32))

    # A little further than asked: the cutoff is applied below, to the vectors the model will see.
    first, second, shifts = _search(positions, cell, periodic, cutoff * (1 + 1e-9) + 1e-9)
    candidates = Pairs(first, second, shifts)
    vectors = candidates.vectors(positions, cell)
    distances = np.sqrt(np.einsum("pd,pd->p", vectors, vectors))
    if len(distances) and distances.min() < COINCIDENT:
        raise ValueError(_coincidence(candidates, int(distances.argmin()), distances.min()))
    close = distances < cutoff
    return Pairs(first[close], second[close], shifts[close])


def all_pairs(count: int) -> Pairs:
    """Return every pair of so many atoms, without images."""
    first, second = np.triu_indices(count, 1)
    none = np.zeros((len(first), 3), np.int32)
    return Pairs(first.astype(np.int32), second.astype(np.int32), none)


def _check_geometry(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, "3"],
    cutoff: float,
) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"positions must have shape (N, 3), not {positions.shape}")
    if cell.shape != (3, 3):
        raise ValueError(f"cell must have shape (3, 3), not {cell.shape}")
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise ValueError(f"the position of atom {atom} is not finite: {positions[atom].tolist()}")
    if abs(positions).max(initial=0) > FARTHEST:
        atom = int(abs(positions).max(axis=1).argmax())
        raise ValueError(
            f"atom {atom} is at {positions[atom].tolist()} Å, too far out to resolve distances: "
            "the trajectory has blown up, or the structure needs translating to the origin"
        )
    if not np.isfinite(cell).all():
        raise ValueError(f"the cell is not finite: {cell.tolist()}")
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"the cutoff must be a positive length in Å, not {cutoff}")

    spanned = np.zeros((0, 3))
    for name, vector in zip(np.array(["a", "b", "c"])[periodic], cell[periodic], strict=True):
        length = np.linalg.norm(vector)
        if length == 0:
            raise ValueError(
                f"pbc is True along {name}, but lattice vector {name} is zero: "
                "set the cell or set pbc to False along it"
            )
        outside = vector / length
        outside = outside - spanned.T @ (spanned @ outside)
        height = np.linalg.norm(outside)
        if height < DEPENDENT:
            raise ValueError(
                f"pbc is True along {name}, but lattice vector {name} = {vector.tolist()} depends "
                "linearly on the periodic ones before it: correct the cell or set pbc to False"
            )
        spanned = np.vstack([spanned, outside / height])


def _search(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, "3"],
    cutoff: float,
) -> tuple[Int32[np.ndarray, " pairs"], Int32[np.ndarray, " pairs"], Int32[np.ndarray, "pairs 3"]]:
    """Return first, second, shifts of every pair within the cutoff, each once, sorted."""
    # matscipy alone at every size: on two cores numpy's all-pairs distances were never more than
    # 1.2 times faster for molecules of 2 to 200 atoms (22 µs against 21 µs at 21 atoms).
    count = len(positions)
    box, origin = _bounding_box(positions, cell, periodic, cutoff)
    folds = _folds(box, cutoff, count)
    box = box / folds[:, None]
    inside = positions - origin
    images = np.floor(inside @ np.linalg.inv(box))
    images[:, ~periodic & (folds == 1)] = 0
    inside = inside - images @ box
    images = images.astype(np.int64)
    first, second, steps = neighbour_list(
        "ijS", positions=inside, cell=box, pbc=periodic | (folds > 1), cutoff=cutoff
    )

    leading = np.where(
        steps[:, 0] != 0, steps[:, 0], np.where(steps[:, 1] != 0, steps[:, 1], steps[:, 2])
    )
    once = (first < second) | ((first == second) & (leading > 0))
    first, second, steps = first[once].astype(np.int64), second[once].astype(np.int64), steps[once]

    total = steps + images[first] - images[second]
    if (folds > 1).any():
        # Folding lays distant parts of space on each other; a real neighbor is a whole number
        # of lattice vectors away, and none at all where the structure does not repeat.
        real = np.where(periodic, total % folds == 0, total == 0).all(axis=1)
        first, second, steps, total = first[real], second[real], steps[real], total[real] // folds

    order = _rank(first, second, steps, count)
    return (
        first[order].astype(np.int32),
        second[order].astype(np.int32),
        total[order].astype(np.int32),
    )


def _bounding_box(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, "3"],
    cutoff: float,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]]:
    """Return a cell whose vectors along open directions enclose all atoms, and its origin.

    Those vectors are perpendicular to the periodic ones and to each other.
    """
    box = cell.copy()
    complete, _ = np.linalg.qr(cell[periodic].T, mode="complete")
    perpendicular = complete[:, int(periodic.sum()) :].T
    along = positions @ perpendicular.T
    low, high = along.min(axis=0), along.max(axis=0)
    box[~periodic] = perpendicular * (high - low + cutoff)[:, None]
    return box, (low - cutoff / 2) @ perpendicular


def _folds(box: Float[np.ndarray, "3 3"], cutoff: float, count: int) -> Int[np.ndarray, "3"]:
    """Return into how many slices to cut each box vector, so that the search stays small."""
    heights = 1 / np.linalg.norm(np.linalg.inv(box), axis=0)
    folds = np.ones(3, np.int64)
    limit = max(SMALLEST_LIMIT_ON_BINS, 8 * count)
    bins = np.maximum(heights / cutoff, 1)
    while bins.prod() > limit:
        widest = int(bins.argmax())
        folds[widest] *= 2
        bins[widest] /= 2
    return folds


def _rank(
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    steps: Int[np.ndarray, "pairs 3"],
    count: int,
) -> Int[np.ndarray, " pairs"]:
    """Return the order by first, second, then shift: one sort of a packed 64-bit key."""
    width = 2 * int(abs(steps).max(initial=0)) + 1
    if count**2 * width**3 < 2**63:
        key = first * count + second
        for direction in range(3):
            key = key * width + steps[:, direction]
        return np.argsort(key, kind="stable")
    return np.lexsort((steps[:, 2], steps[:, 1], steps[:, 0], second, first))


def _coincidence(pairs: Pairs, pair: int, distance: float) -> str:
    first, second = int(pairs.first[pair]), int(pairs.second[pair])
    shift = tuple(int(step) for step in pairs.shifts[pair])
    image = f" (its periodic image {shift})" if any(shift) else ""
    return (
        f"atoms {first} and {second}{image} are {distance:.1e} Å apart: "
        "remove the duplicate or correct positions and cell"
    )
