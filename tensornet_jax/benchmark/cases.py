"""What the products are asked to do: regimes, sizes, and contenders that do it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from numpy.typing import ArrayLike

from tensornet_jax.ops.harmonics.angular_momentum import is_triangle
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.protocol import Path, TensorProduct
from tensornet_jax.runtime.choices import DType

Regime = Literal["siso", "simo", "mimo"]
REGIMES: tuple[Regime, ...] = get_args(Regime)


class UnavailableError(Exception):
    """A contender cannot take part in a case; the text says why."""


@dataclass(frozen=True)
class Case:
    """One product to compute.

    Regimes, as in arXiv:2506.13523:

    - ``siso``: one path, (L, L, l3) with l3 = L for even L and L + 1 for odd L. The sum of the
      degrees is even, so that no family is timed on an output that it leaves empty (Gaunt has no
      path with an odd sum).
    - ``simo``: one degree L on both sides, every degree 0 … 2L of the output. Gaunt fills only the
      even ones; a record says how many numbers of the output can differ from zero.
    - ``mimo``: all degrees 0 … L of both inputs and of the output, as networks use it; with
      `full_output` the output goes to 2L.

    Attributes:
        regime: siso, simo or mimo.
        l_max: L, at least 1.
        channels: each channel of x is multiplied with the same channel of y.
        batch: samples of all channels.
        dtype: float32 or float64.
        full_output: whether the output of mimo goes to 2L instead of L.
    """

    regime: Regime
    l_max: int
    channels: int = 1
    batch: int = 1000
    dtype: DType = "float32"
    full_output: bool = False

    def __post_init__(self) -> None:
        if self.regime not in REGIMES:
            raise ValueError(f"unknown regime {self.regime!r}: use one of {', '.join(REGIMES)}")
        if self.dtype not in get_args(DType):
            raise ValueError(f"unknown dtype {self.dtype!r}: use {' or '.join(get_args(DType))}")
        for name in ("l_max", "channels", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of a benchmark must be at least 1")
        if self.full_output and self.regime != "mimo":
            raise ValueError("full_output is for mimo: simo has every degree of the output anyway")

    @property
    def degrees(self) -> tuple[Degrees, Degrees, Degrees]:
        """The degrees of x, y and z."""
        highest = self.l_max
        if self.regime == "siso":
            one, even = Degrees(highest, highest), highest + highest % 2
            return one, one, Degrees(even, even)
        if self.regime == "simo":
            return Degrees(highest, highest), Degrees(highest, highest), Degrees(0, 2 * highest)
        return (
            Degrees(0, highest),
            Degrees(0, highest),
            Degrees(0, (2 if self.full_output else 1) * highest),
        )

    @property
    def triangles(self) -> tuple[Path, ...]:
        """Every path that rotations allow."""
        first, second, third = self.degrees
        return tuple(
            Path(a, b, c) for a in first for b in second for c in third if is_triangle(a, b, c)
        )

    @property
    def num_products(self) -> int:
        """Pairs of features multiplied in one call."""
        return self.batch * self.channels

    @property
    def array_bytes(self) -> int:
        """Bytes of x, y and z together, each path of z counted once."""
        numbers = sum(degrees.size for degrees in self.degrees)
        return self.num_products * numbers * np.dtype(self.dtype).itemsize

    @property
    def point(self) -> str:
        """The sizes in words, which with regime and L name the case."""
        text = f"batch {self.batch:,}, {self.channels} channel{'s' * (self.channels > 1)}"
        return f"{text}, {self.dtype}{', output to 2L' * self.full_output}"


@dataclass(frozen=True)
class Task:
    """A contender's way of computing a case.

    Attributes:
        function: (x, y, *parameters) → z, arrays in the contender's own layout, batch first.
        computes: the family whose map it is, also for peers.
        paths: the couplings that are in the output.
        coefficients: (size of x, size of y, size of z) the tensor of the whole map, paths summed.
        output_size: numbers in the output of one product; more than the size of z where paths
            stay apart.
        layout: where the contender wants its channels.
        to_own: (batch, channels, size) → the contender's layout, not timed.
        from_own: output in the contender's layout → (batch, channels, size of z), paths summed,
            not timed.
        parameters: further arguments, not differentiated.
        note: what a reader must know to judge the comparison.
        product: the instance, where it is one of ours.
    """

    function: Callable[..., Array]
    computes: str
    paths: tuple[Path, ...]
    coefficients: Float[np.ndarray, "components_x components_y components_z"]
    output_size: int
    layout: str
    to_own: Callable[[np.ndarray], Array] = jnp.asarray
    from_own: Callable[[Array], ArrayLike] = np.asarray
    parameters: tuple[Array, ...] = ()
    note: str = ""
    product: TensorProduct | None = None


@dataclass(frozen=True)
class Contender:
    """A name in the tables and how to get its task for a case.

    Attributes:
        name: e.g. ``gaunt_grid:lebedev`` or ``e3nn_jax.tensor_product``.
        library: the package it comes from.
        apart: whether the paths of its output stay apart, so that it gives more numbers.
        build: returns the task; raises UnavailableError or ValueError where there is none.
    """

    name: str
    library: str
    build: Callable[[Case], Task]
    apart: bool = False


def live_components(degrees: Degrees, paths: Sequence[Path]) -> int:
    """Return how many numbers of an output can differ from zero, given the paths to it."""
    reached = {path.l3 for path in paths}
    return sum(2 * degree + 1 for degree in degrees if degree in reached)


def standard_cases(quick: bool = False) -> list[Case]:
    """Return the sweep whose results are committed: about half an hour on two CPU cores.

    All regimes to L = 8 for a thousand pairs of one channel, and to L = 6 for many channels; all
    degrees (mimo) for a large batch, for an output to 2L and in double precision at some L.

    Args:
        quick: a few cases only, about two minutes.
    """
    if quick:
        return [Case(regime, degree) for regime in REGIMES for degree in (1, 2, 3)]
    return [
        *(Case(regime, degree) for regime in REGIMES for degree in range(1, 9)),
        *(
            Case(regime, degree, channels=128, batch=100)
            for regime in REGIMES
            for degree in (1, 2, 3, 4, 6)
        ),
        *(Case("mimo", degree, batch=10_000) for degree in (2, 6)),
        *(Case("mimo", degree, full_output=True) for degree in (1, 3)),
        *(Case("mimo", degree, dtype="float64") for degree in (1, 3)),
    ]
