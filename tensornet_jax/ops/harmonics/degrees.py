"""Ranges of degrees l and the layout of their components in one axis.

Components stand in e3nn's order: by degree, then m = −l … l. With all degrees from 0 the component
(l, m) is number l² + l + m of (l_max + 1)².
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

Normalization = Literal["integral", "component", "norm"]


@dataclass(frozen=True, order=True)
class Degrees:
    """The degrees from `first` to `last`, both included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many components they have, (last + 1)² − first²."""
        return (self.last + 1) ** 2 - self.first**2

    @property
    def count(self) -> int:
        """How many degrees."""
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[int]:
        """The degrees."""
        return iter(range(self.first, self.last + 1))

    def __contains__(self, degree: object) -> bool:
        return isinstance(degree, int) and self.first <= degree <= self.last

    def slice(self, degree: int) -> slice:
        """Where the 2l + 1 components of one degree stand."""
        start = degree**2 - self.first**2
        return slice(start, start + 2 * degree + 1)

    def index(self, degree: int, order: int) -> int:
        """Where the component (l, m) stands."""
        return degree**2 + degree + order - self.first**2

    @property
    def of_components(self) -> Int[np.ndarray, " components"]:
        """The degree of each component, (size,)."""
        degrees = list(self)
        return np.repeat(degrees, [2 * degree + 1 for degree in degrees])

    @property
    def orders(self) -> Int[np.ndarray, " components"]:
        """The order m of each component, (size,)."""
        return np.concatenate([np.arange(-degree, degree + 1) for degree in self])


def check_normalization(normalization: str) -> None:
    """Raise ValueError unless the name is one of the three."""
    if normalization not in get_args(Normalization):
        names = ", ".join(get_args(Normalization))
        raise ValueError(f"unknown normalization {normalization!r}: use one of {names}")
