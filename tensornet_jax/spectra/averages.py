"""Averages of correlated series with standard errors, by blocking (Flyvbjerg and Petersen).

Neighboring values are averaged in pairs again and again. The error that independent values would
have grows with each step until blocks are longer than correlations last, and then stays. Flyvbjerg
and Petersen, J. Chem. Phys. 91, 461 (1989); where the plateau begins is chosen as by Lee et al.,
Phys. Rev. E 83, 066706 (2011), after Wolff, Comput. Phys. Commun. 156, 143 (2004).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Fewer blocks give no error worth the name.
FEWEST_BLOCKS = 8


class Average(NamedTuple):
    """The mean of a series and what is known of it.

    mean: (…).
    error: (…) standard error of the mean; NaN where the series is too short for its correlations.
    deviation: (…) standard deviation of single values.
    inefficiency: (…) statistical inefficiency: how many successive values are worth one.
    """

    mean: Float[np.ndarray, "*shape"]
    error: Float[np.ndarray, "*shape"]
    deviation: Float[np.ndarray, "*shape"]
    inefficiency: Float[np.ndarray, "*shape"]


def block_levels(
    series: Float[np.ndarray, "replicas steps ..."],
) -> list[tuple[int, Float[np.ndarray, "*shape"]]]:
    """Return block lengths 1, 2, 4, … and the standard error that each gives.

    Blocks are of one replica each; their scatter is about the mean of all.

    Args:
        series: (R, T, …) of R replicas.

    Returns:
        (length, (…) error) while there are at least ``FEWEST_BLOCKS`` blocks.
    """
    blocks = np.asarray(series, np.float64)
    levels, length = [], 1
    while blocks.shape[1] and (count := blocks.shape[0] * blocks.shape[1]) >= FEWEST_BLOCKS:
        levels.append((length, np.sqrt(blocks.var(axis=(0, 1)) / (count - 1))))
        pairs = blocks.shape[1] // 2
        blocks = 0.5 * (blocks[:, : 2 * pairs : 2] + blocks[:, 1 : 2 * pairs : 2])
        length *= 2
    return levels


def block_average(series: Float[np.ndarray, "replicas steps ..."]) -> Average:
    """Return the mean with its standard error.

    The error is that of the first block length B with B³ > 2 N (e_B / e_1)⁴, N the number of
    values and e_B the error from blocks of that length.

    Args:
        series: (R, T, …) of R replicas, alike but for chance.

    Raises:
        ValueError: too few values.
    """
    series = np.asarray(series, np.float64)
    if series.shape[0] * series.shape[1] < FEWEST_BLOCKS:
        raise ValueError(
            f"{series.shape[1]} values of {series.shape[0]} replicas are too few for an average "
            f"with an error: record at least {FEWEST_BLOCKS}"
        )
    count = series.shape[0] * series.shape[1]
    levels = block_levels(series)
    first = levels[0][1]
    constant = first == 0
    ratio = np.full(first.shape, np.nan)
    for length, error in levels:
        relative = error / np.where(constant, 1, first)
        chosen = np.isnan(ratio) & (length**3 > 2 * count * relative**4)
        ratio = np.where(chosen, relative, ratio)
    ratio = np.where(constant, 1, ratio)
    return Average(
        mean=series.mean(axis=(0, 1)),
        error=first * ratio,
        deviation=series.std(axis=(0, 1)),
        inefficiency=np.maximum(ratio**2, 1),
    )
