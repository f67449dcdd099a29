"""The largest of many deviations, where it was, and the error it causes."""

import numpy as np
from numpy.typing import ArrayLike

SMALLEST = 1e-9
"""eV, eV/Å or eV/Å³: relative deviations of what is smaller, or zero, are taken from this."""


class CheckError(AssertionError):
    """A potential that does not do what physics asks for."""


class Worst:
    """The largest of many deviations, and where it was."""

    def __init__(self) -> None:
        """Begin with none."""
        self.deviation, self.where = 0.0, "nothing"

    def add(self, deviations: ArrayLike, where: str) -> None:
        """Note deviations of one place; NaN is the worst of all."""
        array = np.asarray(deviations, float)
        largest = float(np.max(array, initial=0)) if np.isfinite(array).all() else float("inf")
        if largest > self.deviation:
            self.deviation, self.where = largest, where

    def judge(self, tolerance: float, complaint: str, unit: str) -> float:
        """Return the deviation, or raise CheckError if it is above the tolerance."""
        if self.deviation > tolerance:
            raise CheckError(
                f"{complaint} {self.deviation:.3g}{unit} in {self.where}, above {tolerance:.3g}"
            )
        return self.deviation


def scale_of(values: ArrayLike) -> float:
    """Return the largest magnitude among values, which relative deviations are taken from."""
    return max(float(np.max(np.abs(values), initial=0)), SMALLEST)
