"""Numbers of an ensemble: one for all structures, one for each, or a ramp; in fs, K and GPa."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pydantic
from jaxtyping import Float
from pydantic import Field

from tensornet_jax.config import Config

PerReplica = float | tuple[float, ...]
"""One number for all structures, or one for each."""


class Ramp(Config):
    """A number that changes linearly in time, and then stays at its end."""

    start: PerReplica = Field(
        description="at the first step; a list has one for each replica", examples=[300.0]
    )
    end: PerReplica = Field(description="at the end of the ramp", examples=[600.0])
    time: float | None = Field(
        default=None, gt=0, description="fs the ramp takes; null: as long as the run"
    )

    def at(self, time: float, name: str) -> PerReplica:
        """Return the value at a time, fs.

        Args:
            time: fs.
            name: what it is a ramp of, for the message.

        Raises:
            ValueError: the ramp does not say how long it takes.
        """
        done = min(time / self.duration(name), 1.0)
        start, end = np.asarray(self.start, float), np.asarray(self.end, float)
        value = start + (end - start) * done
        return float(value) if value.ndim == 0 else tuple(value.tolist())

    def duration(self, name: str) -> float:
        """Return how long it takes, fs.

        Args:
            name: what it is a ramp of, for the message.

        Raises:
            ValueError: it does not say.
        """
        if self.time is None:
            raise ValueError(f"the ramp of the {name} needs the time that it takes: give time, fs")
        return self.time


def _check_positive(value: object) -> object:
    if isinstance(value, Mapping):
        for name in ("start", "end"):
            _check_positive(value.get(name, 1.0))
        return value
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(x, int | float) and not x > 0 for x in numbers) or not numbers:
        raise ValueError(f"must be greater than 0, not {value}")
    return value


Positive = Annotated[PerReplica, pydantic.BeforeValidator(_check_positive)]
Temperature = Annotated[PerReplica | Ramp, pydantic.BeforeValidator(_check_positive)]
"""K; one number, one for each replica, or a ramp."""


def ends_of(value: PerReplica | Ramp) -> tuple[PerReplica, PerReplica]:
    """Return what a number is at the start of a run and at the end of its ramp."""
    return (value.start, value.end) if isinstance(value, Ramp) else (value, value)


def per_structure(value: PerReplica, count: int, name: str) -> Float[np.ndarray, " structures"]:
    """Return a number for each of so many structures.

    Raises:
        ValueError: neither one number nor as many as there are structures.
    """
    if np.ndim(value) and len(np.atleast_1d(value)) != count:
        raise ValueError(
            f"{name} has {len(np.atleast_1d(value))} numbers for {count} structures: give one, or "
            "one for each"
        )
    return np.broadcast_to(np.asarray(value, np.float64), (count,)).copy()
