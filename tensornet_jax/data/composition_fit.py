"""Energies as sums over atoms of one energy an element, by least squares."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from tensornet_jax.data.labelled_structure import LabelledStructure

_ELEMENTS = len(chemical_symbols)
# Rows that are reduced at a time.
_BLOCK = 4096


@dataclass(frozen=True)
class CompositionFit:
    """Energies as a sum over atoms of one energy an element.

    Attributes:
        energies: eV, float64; the solution of least norm, 0 without any energy.
        rank: how many independent combinations of them the data determine.
        undetermined: symbols whose own energy the data do not fix.
        count: energies fitted to.
    """

    energies: Float[np.ndarray, " elements"]
    rank: int
    undetermined: tuple[str, ...]
    count: int


def fit_to_composition(
    numbers: tuple[int, ...],
    structures: Sequence[LabelledStructure],
    energies: Float[np.ndarray, " structures"],
) -> CompositionFit:
    """Fit an energy for each element, by least squares in float64.

    Args:
        numbers: the elements; atoms of others count nothing.
        structures: as many as energies.
        energies: eV, of each structure; NaN is left out.
    """
    labelled = np.flatnonzero(~np.isnan(energies))
    if not len(labelled) or not numbers:
        return _nothing(numbers, len(labelled))
    composition = np.array(
        [_composition(structures[i])[list(numbers)] for i in labelled.tolist()], np.float64
    )
    return _solved(numbers, composition, energies[labelled], len(labelled))


class CompositionSums:
    """The same fit to structures that come one after the other and are not held.

    Of their compositions and energies the triangular factor of a QR decomposition is kept, which
    has the least-squares solutions of all of them; sums of products would square the condition
    number.
    """

    def __init__(self) -> None:
        self._rows: np.ndarray = np.zeros((0, _ELEMENTS + 1))
        self._waiting: list[np.ndarray] = []
        self._count = 0

    def add(self, structure: LabelledStructure) -> None:
        """Count one structure, if it has an energy."""
        if np.isnan(structure.energy):
            return
        self._count += 1
        self._waiting.append(np.append(_composition(structure), structure.energy))
        if len(self._waiting) == _BLOCK:
            self._reduce()

    def fit(self, numbers: tuple[int, ...]) -> CompositionFit:
        """Return the fit to all that was added, for elements that are all it has."""
        if not self._count or not numbers:
            return _nothing(numbers, self._count)
        self._reduce()
        return _solved(numbers, self._rows[:, list(numbers)], self._rows[:, -1], self._count)

    def _reduce(self) -> None:
        rows = np.concatenate([self._rows, np.reshape(self._waiting, (-1, _ELEMENTS + 1))])
        self._rows, self._waiting = np.asarray(np.linalg.qr(rows, mode="r")), []


def _composition(structure: LabelledStructure) -> np.ndarray:
    return np.bincount(structure.numbers, minlength=_ELEMENTS)


def _nothing(numbers: tuple[int, ...], count: int) -> CompositionFit:
    symbols = tuple(chemical_symbols[z] for z in numbers)
    return CompositionFit(np.zeros(len(numbers)), 0, symbols, count)


def _solved(
    numbers: tuple[int, ...], composition: np.ndarray, energies: np.ndarray, count: int
) -> CompositionFit:
    solution, _, rank, _ = np.linalg.lstsq(composition, energies, rcond=None)
    # An element is determined if its unit vector lies in the row space of the compositions.
    row_space = np.linalg.svd(composition, full_matrices=False)[2][:rank]
    fixed = np.linalg.norm(row_space, axis=0)
    symbols = [chemical_symbols[z] for z in numbers]
    undetermined = tuple(s for s, norm in zip(symbols, fixed, strict=True) if norm < 1 - 1e-6)
    return CompositionFit(solution, int(rank), undetermined, count)
