"""All radial functions of a potential, of all its networks, as few splines.

They are close to a space of a few dozen functions, which a singular value decomposition finds; what
spans it is tabulated, and a matrix makes of it what each network made. Where a network sees the
elements of both atoms too, all pairs of elements share the matrix and have tables of their own.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tensornet_jax.models.config import ModelConfig
from tensornet_jax.ops.spline import ORDER, evaluate_spline, fit_spline
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.precision import precision_scope

# Ranks are multiples of what a vector unit holds.
RANKS = tuple(range(8, 129, 8))
INTERVALS = (512, 1024, 2048, 4096, 8192)
SAMPLES = 4
"""Distances in each interval at which the functions are sampled."""
COARSE = 16
"""Of so many samples one is enough to find the space that the functions span."""
ROWS = 16384
"""Samples of all pairs of elements together that this space is found from, about."""
NEVER_CLOSER = 0.5
CLOSE_WEIGHT = 0.01
"""Å, and what errors count at smaller distances, which no two nuclei reach; 0 itself is needed."""
SLOPE_LENGTH = 0.5
"""Å: a force is a slope, whose error counts as much as that of the value this far on."""
LARGEST_TABLE = 2**29
"""Bytes."""

Values = Float[np.ndarray, "samples functions"]
Ends = tuple[int, int]
"""Elements of a receiver and a sender, by their places in the element table."""


class Functions:
    """All radial functions of a potential.

    Functions of one network are divided by the largest value that any of them has.
    """

    def __init__(self, potential: Potential, itemsize: int):
        """Sample the functions.

        Args:
            potential: in float64.
            itemsize: bytes of a number of the tables that are wanted.

        Raises:
            ValueError: the tables of the potential's elements would be too large.
        """
        self._potential, self._itemsize = potential, itemsize
        self._several = potential.config.tables != "one"
        self._ends = _ends(potential.config, len(potential.elements.numbers))
        self._check_size(ORDER * INTERVALS[0], RANKS[0])
        self._places = np.linspace(0, potential.cutoff, SAMPLES * INTERVALS[-1] + 1)
        apply = jax.jit(partial(potential.module.apply, method="radial_functions"))
        self._apply: Callable[..., list[jax.Array]] = apply
        self._sample()

    def tables(
        self, accuracy: float, coarsest: int = 0
    ) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Return spline coefficients and a matrix (rank, n) for each network.

        Args:
            accuracy: of all functions, as they are divided.
            coarsest: intervals that there are to be at least.

        Returns:
            coefficients (4 · intervals, rank), with two axes of elements before them where each two
            elements have tables of their own; the smallest that reach the accuracy, or None.

        Raises:
            ValueError: they would be too large.
        """
        for rank in RANKS:
            matrix = self._space[:rank]
            if self._left_out(self._rows, self._weights[self._coarse], matrix) > accuracy / 2:
                continue
            bases, missed = self._in_space(matrix)
            if missed > accuracy / 2:
                continue
            for intervals in (number for number in INTERVALS if number >= coarsest):
                found = self._fitted(bases, matrix, intervals, accuracy - missed)
                if found is not None:
                    parts = np.split(matrix, np.cumsum(self._sizes)[:-1], axis=1)
                    scaled = [p * s for p, s in zip(parts, self._scales, strict=True)]
                    return self._arranged(found), scaled
        return None

    def _sample(self) -> None:
        step = self._places[1]
        stride = COARSE * max(1, len(self._places) // COARSE * len(self._ends) // ROWS)
        self._coarse = np.arange(0, len(self._places), stride)
        self._weights = np.where(
            (self._places > 0) & (self._places < NEVER_CLOSER), CLOSE_WEIGHT, 1.0
        )[:, None]
        last = len(self._places) - 1
        before, after = (np.clip(self._coarse + by, 0, last) for by in (-1, 1))
        rows, slopes, largest = [], [], []
        for ends in self._ends:
            values = self._values(ends)
            largest.append([abs(self._weights * v).max() for v in values])
            self._sizes = [v.shape[1] for v in values]
            together = np.concatenate(values, axis=1)
            rows.append(together[self._coarse])
            difference = together[after] - together[before]
            slopes.append(difference / (step * (after - before))[:, None])
        self._scales = np.maximum(np.max(largest, axis=0), np.finfo(float).tiny)
        columns = np.repeat(self._scales, self._sizes)
        self._rows = np.stack(rows) / columns
        weighted = self._weights[self._coarse] * np.stack(
            [self._rows, SLOPE_LENGTH * np.stack(slopes) / columns]
        )
        _, _, right = np.linalg.svd(weighted.reshape(-1, len(columns)), full_matrices=False)
        self._space = right[: RANKS[-1]]

    def _values(self, ends: Ends) -> list[Values]:
        """Values of each network's functions at all places."""
        with self._potential.precision():
            found = self._apply(self._potential.variables, jnp.asarray(self._places), ends)
        return [np.asarray(each) for each in found]

    def _in_space(self, matrix: np.ndarray) -> tuple[list[np.ndarray], float]:
        """Return what the matrix makes the functions of, and the largest error of that."""
        columns, bases, missed = np.repeat(self._scales, self._sizes), [], 0.0
        for ends in self._ends:
            together = np.concatenate(self._values(ends), axis=1) / columns
            bases.append(together @ matrix.T)
            missed = max(missed, self._left_out(together, self._weights, matrix))
        return bases, missed

    @staticmethod
    def _left_out(values: np.ndarray, weights: np.ndarray, matrix: np.ndarray) -> float:
        return float(abs(weights * (values @ matrix.T @ matrix - values)).max())

    def _fitted(
        self, bases: list[np.ndarray], matrix: np.ndarray, intervals: int, accuracy: float
    ) -> list[np.ndarray] | None:
        """Return the splines of each pair of elements, unless one of them is not accurate."""
        found, cutoff = [], self._potential.cutoff
        for basis in bases:
            table = fit_spline(self._places, basis, cutoff, intervals)
            with precision_scope("float64"):
                values = evaluate_spline(jnp.asarray(table), jnp.asarray(self._places), cutoff)
            errors = (np.asarray(values) - basis) @ matrix
            if abs(self._weights * errors).max() > accuracy:
                return None
            found.append(table)
        return found

    def _arranged(self, tables: list[np.ndarray]) -> np.ndarray:
        if not self._several:
            return tables[0]
        rows, rank = tables[0].shape
        self._check_size(rows, rank)
        count = len(self._potential.elements.numbers)
        found = np.zeros((count, count, rows, rank))
        for (receiver, sender), table in zip(self._ends, tables, strict=True):
            found[receiver, sender] = table
            if self._potential.config.tables == "pairs":
                found[sender, receiver] = table
        return found

    def _check_size(self, rows: int, rank: int) -> None:
        count = len(self._potential.elements.numbers)
        size = count**2 * rows * rank * self._itemsize
        if self._several and size > LARGEST_TABLE:
            raise ValueError(
                f"each two of this model's {count} elements need tables of their own, "
                f"{size / 1e9:.1f} GB and more: compress it for the elements you need "
                "(--elements H,C,O; tensornet_jax.potential.elements.with_elements)"
            )


def _ends(config: ModelConfig, count: int) -> list[Ends]:
    if config.tables == "one":
        return [(0, 0)]
    every = [(a, b) for a in range(count) for b in range(count)]
    return every if config.tables == "edges" else [(a, b) for a, b in every if a <= b]
