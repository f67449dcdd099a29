"""Thermal conductivity from the heat flux along trajectories, after Green and Kubo.

κ = 1/(3 V k_B T²) ∫ ⟨VJ(0) · VJ(t)⟩ dt, the mean over three directions. The integral grows to a
plateau where correlations have ended, beyond which it only gathers noise: up to where it is taken
is for a reader of the curve to say.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import units
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid

from tensornet_jax.runtime.csv_files import write_csv
from tensornet_jax.spectra.correlation import autocorrelation

# eV/(Å fs K) to W/(m K).
_WATTS = units._e / (1e-10 * 1e-15)
UNIT = "W_m-1_K-1"
"""Of conductivities, as headers of files have it."""


class Conductivity(NamedTuple):
    """The integral up to growing times.

    times: (L,) fs, from 0 on.
    values: (L,) W/(m K).
    error: (L,) standard error from the scatter among replicas; None of only one.
    """

    times: Float[np.ndarray, " lags"]
    values: Float[np.ndarray, " lags"]
    error: Float[np.ndarray, " lags"] | None


def thermal_conductivity(
    fluxes: Float[np.ndarray, "replicas steps 3"],
    interval: float,
    volume: float,
    temperature: float,
) -> Conductivity:
    """Return the conductivity by integrals up to half the length of the series.

    Args:
        fluxes: (R, T, 3) heat fluxes times the volume of R replicas, eV·Å/fs.
        interval: time between two of them, fs.
        volume: of the cell, Å³.
        temperature: K.

    Raises:
        ValueError: fewer than four values, or no volume.
    """
    length = fluxes.shape[1]
    if length < 4:
        raise ValueError(
            f"{length} heat fluxes are too few for a correlation function: record more"
        )
    if not volume > 0:
        raise ValueError("structures without a volume have no thermal conductivity: set a cell")
    correlation = autocorrelation(np.asarray(fluxes, np.float64), length // 2)
    integrals = cumulative_trapezoid(correlation, dx=interval, axis=1, initial=0)
    integrals *= _WATTS / (3 * volume * units.kB * temperature**2)
    error = None
    if len(integrals) > 1:
        error = integrals.std(axis=0, ddof=1) / np.sqrt(len(integrals))
    times = interval * np.arange(integrals.shape[1])
    return Conductivity(times, integrals.mean(axis=0), error)


def write_conductivity(path: Path, found: dict[str, Conductivity]) -> None:
    """Write conductivities over the same times to a CSV file.

    Columns are time_ps, NAME_W_m-1_K-1 of each flux and, with replicas, NAME_W_m-1_K-1_error.
    """
    columns = {"time_ps": next(iter(found.values())).times * 1e-3}
    for name, each in found.items():
        columns[f"{name}_{UNIT}"] = each.values
        if each.error is not None:
            columns[f"{name}_{UNIT}_error"] = each.error
    rows = np.stack(list(columns.values()), axis=1)
    write_csv(path, list(columns), ([f"{value:.8g}" for value in row] for row in rows))
