"""Averages of everything recorded, as the rows of a table."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.spectra.averages import block_average
from tensornet_jax.spectra.series_file import Series


class AverageRow(NamedTuple):
    """One average.

    property: its name.
    unit: "" where the model does not say.
    atom: element and index, such as O2; "" of a property of the structure.
    component: indices such as xy; norm or isotropic (tr / 3) of what does not turn with the axes;
        "" of a number.
    mean, error, standard_deviation, inefficiency: see `Average`.
    """

    property: str
    unit: str
    atom: str
    component: str
    mean: float
    error: float
    standard_deviation: float
    inefficiency: float


def average_rows(series: Series) -> list[AverageRow]:
    """Return the averages of temperature, volume if there is one, and every property."""
    rows = list(_rows("temperature", "K", "", series.temperature))
    if series.volume.all():
        rows += _rows("volume", "Å³", "", series.volume)
    for name, values in series.values.items():
        unit = series.units[name]
        if name not in series.per_atom:
            rows += _rows(name, unit, "", values)
            continue
        for index, number in enumerate(series.numbers):
            rows += _rows(name, unit, f"{chemical_symbols[number]}{index}", values[:, :, index])
    return rows


def _rows(name: str, unit: str, atom: str, values: np.ndarray) -> Iterator[AverageRow]:
    for component, series in _components(values):
        found = (float(value) for value in block_average(series))
        yield AverageRow(name, unit, atom, component, *found)


def _components(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    rank = values.ndim - 2
    if rank == 1:
        yield "norm", np.linalg.norm(values, axis=-1)
    if rank == 2:
        yield "isotropic", np.trace(values, axis1=-2, axis2=-1) / 3
    for indices in product(range(3), repeat=rank):
        yield "".join("xyz"[index] for index in indices), values[(..., *indices)]
