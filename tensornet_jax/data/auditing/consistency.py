"""Do energies, forces and stresses agree in unit and sign? Work along small steps says so.

Between two near configurations −ΔE = F·Δr and ΔE = V σ:ε − F·Δr to second order when F and σ are
means over both ends. A slope far from 1 betrays a wrong unit, a slope below 0 a wrong sign.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

import numpy as np
from ase import Atoms
from jaxtyping import Float

from tensornet_jax.data.labelled_structure import LabelledStructure

MINIMUM_PAIRS = 5
MAX_DISPLACEMENT = 0.2  # Å; the midpoint rule fails for a bond stretched much further
MAX_STRAIN = 0.1
_LEAST_WORK = 1e-5  # eV; below this rounding in the files decides the ratio


@dataclass(frozen=True)
class WorkSlope:
    """Energy change per work of the forces or stresses.

    Attributes:
        slope: 1 where units and signs agree.
        pairs: pairs of configurations that it rests on.
    """

    slope: float
    pairs: int

    @property
    def plausible(self) -> bool:
        """Whether the slope lies in [0.5, 2]."""
        return 0.5 <= self.slope <= 2.0


def force_work_slope(
    structures: Sequence[LabelledStructure],
    energy_of: Callable[[LabelledStructure], float] = attrgetter("energy"),
) -> WorkSlope | None:
    """Return the slope of −ΔE against F·Δr between consecutive near frames.

    Frames count as a trajectory where neighbors in the list have the same atoms, cell and
    charge and spin, and no atom moves by more than MAX_DISPLACEMENT.

    Args:
        structures: with labels.
        energy_of: gives the energy to compare with the forces, eV; NaN where there is none.

    Returns:
        None where fewer than MINIMUM_PAIRS pairs qualify.
    """
    work, change = [], []
    for a, b in pairwise(structures):
        if not _comparable(a, b):
            continue
        first, second = a.atoms, b.atoms
        if not np.allclose(first.cell.array, second.cell.array, rtol=0.0, atol=1e-6):
            continue
        moved = _wrapped(second.positions - first.positions, second)
        if np.abs(moved).max() > MAX_DISPLACEMENT:
            continue
        work.append(_force_work(a, b, moved))
        change.append(energy_of(a) - energy_of(b))
    return _slope(work, change)


def stress_work_slope(structures: Sequence[LabelledStructure]) -> WorkSlope | None:
    """Return the slope of ΔE + F·Δr against V σ:ε between near frames of different cells.

    Pairs are neighbors in the list, and neighbors in volume among structures of the same atoms;
    used are those where the strain does more of the work than the displacements inside the cell.

    Returns:
        None where fewer than MINIMUM_PAIRS pairs qualify.
    """
    work, change = [], []
    for a, b in _strain_pairs(structures):
        first, second = a.atoms, b.atoms
        stress = 0.5 * (a.labels.of("stress") + b.labels.of("stress"))
        if np.isnan(stress).any():
            continue
        deformation = np.linalg.solve(first.cell.array, second.cell.array)
        strain = 0.5 * (deformation + deformation.T) - np.eye(3)
        if not 1e-6 < np.abs(deformation - np.eye(3)).max() < MAX_STRAIN:
            continue
        moved = _wrapped(second.positions - first.positions @ deformation, second)
        if np.abs(moved).max() > MAX_DISPLACEMENT:
            continue
        volume = 0.5 * (first.cell.volume + second.cell.volume)
        strain_work = volume * float(np.sum(stress * strain))
        force_work = _force_work(a, b, moved)
        if np.isnan(force_work):
            if np.abs(moved).max() > 1e-3:
                continue
            force_work = 0.0
        if abs(strain_work) > abs(force_work):
            work.append(strain_work)
            change.append(b.energy - a.energy + force_work)
    return _slope(work, change)


def _comparable(first: LabelledStructure, second: LabelledStructure) -> bool:
    return (
        len(first) > 1
        and np.array_equal(first.numbers, second.numbers)
        and np.array_equal(first.atoms.pbc, second.atoms.pbc)
        and first.state == second.state
    )


def _strain_pairs(
    structures: Sequence[LabelledStructure],
) -> Iterator[tuple[LabelledStructure, LabelledStructure]]:
    frames = [structure.atoms for structure in structures]
    periodic = [i for i, a in enumerate(frames) if a.pbc.any() and a.cell.volume > 0]
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index in periodic:
        groups[frames[index].numbers.tobytes()].append(index)
    pairs = {(i, j) for i, j in pairwise(periodic) if j == i + 1}
    for members in groups.values():
        members.sort(key=lambda index: frames[index].cell.volume)
        pairs |= {(min(i, j), max(i, j)) for i, j in pairwise(members)}
    for i, j in sorted(pairs):
        first, second = frames[i], frames[j]
        if np.array_equal(first.numbers, second.numbers) and np.array_equal(first.pbc, second.pbc):
            yield structures[i], structures[j]


def _wrapped(
    displacements: Float[np.ndarray, "atoms 3"], atoms: Atoms
) -> Float[np.ndarray, "atoms 3"]:
    """Return displacements (N, 3) without jumps over a periodic boundary."""
    if not atoms.pbc.any():
        return displacements
    cell = atoms.cell.complete().array
    fractional = np.linalg.solve(cell.T, displacements.T).T
    return displacements - np.where(atoms.pbc, np.round(fractional), 0.0) @ cell


def _force_work(
    a: LabelledStructure, b: LabelledStructure, moved: Float[np.ndarray, "atoms 3"]
) -> float:
    return float(np.sum(0.5 * (a.labels.of("forces") + b.labels.of("forces")) * moved))


def _slope(work: Sequence[float], change: Sequence[float]) -> WorkSlope | None:
    """Return the slope through the origin that minimizes Σ|change − slope·work|.

    A pair that crosses to another electronic state would ruin a least-squares fit.
    """
    x, y = np.array(work, dtype=float), np.array(change, dtype=float)
    usable = np.isfinite(x) & np.isfinite(y) & (np.abs(x) > _LEAST_WORK)
    if usable.sum() < MINIMUM_PAIRS:
        return None
    x, y = x[usable], y[usable]
    order = np.argsort(y / x)
    weight = np.cumsum(np.abs(x[order]))
    middle = order[np.searchsorted(weight, 0.5 * weight[-1])]
    return WorkSlope(slope=float(y[middle] / x[middle]), pairs=len(x))
